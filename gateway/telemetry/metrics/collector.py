"""Which exporter takes metrics to a collector.

The standard ``OTEL_EXPORTER_OTLP_*`` variables say all of it; the exporters read for themselves
whatever is not address or protocol (headers, certificates, compression, timeout).
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.sdk.metrics.export import MetricExporter

from gateway.telemetry.collector_address import collector_address
from gateway.telemetry.metrics.wanted import metrics_endpoint

_AT_A_TIME = 2000
"""Series in one request: far below the 4 MB that a gRPC server takes."""


def metrics_exporter(environment: Mapping[str, str]) -> MetricExporter | None:
    """Return the exporter to a collector, or ``None`` if none is configured.

    Args:
        environment: See :func:`.collector_address.collector_address`.

    Raises:
        UnknownCollector: If the address or the protocol cannot be understood.
    """
    wanted = metrics_endpoint(environment) is not None
    address = collector_address("metrics", environment) if wanted else None
    if address is None:
        return None
    if address.protocol == "grpc":
        return _grpc(address.target, insecure=not address.secure)
    return _http(address.url)


def _grpc(target: str, *, insecure: bool) -> MetricExporter:
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(endpoint=target, insecure=insecure, max_export_batch_size=_AT_A_TIME)


def _http(url: str) -> MetricExporter:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(endpoint=url, max_export_batch_size=_AT_A_TIME)
