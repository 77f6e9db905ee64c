"""Which exporter takes metrics to a collector.

The standard ``OTEL_EXPORTER_OTLP_*`` variables say all of it; the exporters read for themselves
whatever is not address or protocol (headers, certificates, compression, timeout).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics.export import MetricExporter

from gateway.telemetry.collector import UnknownCollector
from gateway.telemetry.metrics.wanted import ENDPOINTS, metrics_endpoint

_GRPC_PORT = 4317
_PATH = "/v1/metrics"
_AT_A_TIME = 2000
"""Series in one request: far below the 4 MB that a gRPC server takes."""

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def metrics_exporter(environment: Mapping[str, str]) -> MetricExporter | None:
    """Return the exporter to a collector, or ``None`` if none is configured.

    The protocol is what ``OTEL_EXPORTER_OTLP[_METRICS]_PROTOCOL`` says; else OTLP/HTTP for a URL,
    and OTLP/gRPC for one with port 4317 and for ``host:port``.

    Raises:
        UnknownCollector: If the address or the protocol cannot be understood.
    """
    endpoint = metrics_endpoint(environment)
    if endpoint is None:
        return None
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UnknownCollector(f"'{endpoint}' is no collector's address: {error}") from error
    if not host or parts.scheme not in ("", "http", "https"):
        raise UnknownCollector(
            f"'{endpoint}' is no collector's address: host:4317 or http://host:4318 is"
        )
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), None)
    if protocol is None:
        protocol = "http/protobuf" if parts.scheme and port != _GRPC_PORT else "grpc"
    if protocol == "grpc":
        return _grpc(parts.netloc, insecure=parts.scheme != "https")
    if protocol != "http/protobuf":
        raise UnknownCollector(f"'{protocol}' is no protocol here: grpc and http/protobuf are")
    base = endpoint if parts.scheme else f"http://{endpoint}"
    # The variable for metrics is the whole URL; the other one names the collector.
    whole = bool(environment.get(ENDPOINTS[0]))
    return _http(base if whole else base.rstrip("/") + _PATH)


def _grpc(target: str, *, insecure: bool) -> MetricExporter:
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(endpoint=target, insecure=insecure, max_export_batch_size=_AT_A_TIME)


def _http(url: str) -> MetricExporter:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(endpoint=url, max_export_batch_size=_AT_A_TIME)
