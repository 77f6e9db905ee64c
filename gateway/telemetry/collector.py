"""Which exporter takes spans to a collector.

Everything but the address and the protocol (headers, certificates, compression, timeout) is what
the standard ``OTEL_EXPORTER_OTLP_*`` variables say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from gateway.telemetry.otlp_sender import GrpcSender, HttpSender

_GRPC_PORT = 4317
_PATH = "/v1/traces"
_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_INSECURE = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE")


class UnknownCollector(Exception):
    """An address or a protocol that no exporter speaks."""


def collector_exporter(
    endpoint: str | None, environment: Mapping[str, str]
) -> GrpcSender | HttpSender | None:
    """Return the exporter to a collector, or ``None`` if none is configured.

    Args:
        endpoint: ``http://host:4318`` for OTLP/HTTP (protobuf); ``host:4317``, or a URL with
            that port, for OTLP/gRPC. ``None``: what the environment says.
        environment: ``OTEL_EXPORTER_OTLP[_TRACES]_ENDPOINT`` and ``…_PROTOCOL`` count.

    Raises:
        UnknownCollector: If the address or the protocol cannot be understood, or a certificate
            not read.
    """
    # The variable for traces is the whole URL; the others name the collector.
    whole = False
    if not endpoint:
        whole = bool(environment.get(_TRACES_ENDPOINT))
        endpoint = environment.get(_TRACES_ENDPOINT) or environment.get(_ENDPOINT)
    if not endpoint:
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "")
    url = endpoint if "://" in endpoint else f"//{endpoint}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UnknownCollector(f"'{endpoint}' is no collector's address: {error}") from error
    if not host or parts.scheme not in ("", "http", "https"):
        raise UnknownCollector(
            f"'{endpoint}' is no collector's address: host:4317 or http://host:4318 is"
        )
    if not protocol:
        protocol = "http/protobuf" if parts.scheme and port != _GRPC_PORT else "grpc"
    if protocol not in ("grpc", "http/protobuf"):
        raise UnknownCollector(f"'{protocol}' is no protocol here: grpc and http/protobuf are")
    # Only who sends anything pays for gRPC's memory.
    from gateway.telemetry.otlp_sender import GrpcSender, HttpSender, SenderOptions

    options = SenderOptions.of(environment)
    base = endpoint if parts.scheme else f"http://{endpoint}"
    url = base if whole or base.endswith(_PATH) else base.rstrip("/") + _PATH
    try:
        if protocol == "grpc":
            return GrpcSender(parts.netloc, options, secure=_is_secure(parts.scheme, environment))
        return HttpSender(url, options)
    except OSError as error:
        raise UnknownCollector(f"the certificates for '{endpoint}': {error}") from error


def _is_secure(scheme: str, environment: Mapping[str, str]) -> bool:
    """Return whether to use TLS: as the URL says, else the environment, else not."""
    if scheme:
        return scheme == "https"
    said = next((environment[name] for name in _INSECURE if environment.get(name)), "true")
    return said.strip().lower() == "false"
