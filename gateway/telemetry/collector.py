"""Which exporter takes spans to a collector.

Everything but the address and the protocol (headers, certificates, compression, timeout) is what
the standard ``OTEL_EXPORTER_OTLP_*`` variables say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.telemetry.collector_address import UnknownCollector, collector_address

if TYPE_CHECKING:
    from gateway.telemetry.otlp_sender import GrpcSender, HttpSender


def collector_exporter(
    endpoint: str | None, environment: Mapping[str, str]
) -> GrpcSender | HttpSender | None:
    """Return the exporter to a collector, or ``None`` if none is configured.

    Args:
        endpoint: ``http://host:4318`` for OTLP/HTTP (protobuf); ``host:4317``, or a URL with
            that port, for OTLP/gRPC. ``None``: what the environment says.
        environment: See :func:`.collector_address.collector_address`.

    Raises:
        UnknownCollector: If the address or the protocol cannot be understood, or a certificate
            not read.
    """
    address = collector_address("traces", environment, endpoint)
    if address is None:
        return None
    # Only who sends anything pays for gRPC's memory.
    from gateway.telemetry.otlp_sender import GrpcSender, HttpSender, SenderOptions

    options = SenderOptions.of(environment)
    try:
        if address.protocol == "grpc":
            return GrpcSender(address.target, options, secure=address.secure)
        return HttpSender(address.url, options)
    except OSError as error:
        raise UnknownCollector(f"the certificates for '{address.endpoint}': {error}") from error
