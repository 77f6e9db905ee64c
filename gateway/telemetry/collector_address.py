"""Where a collector is and how it is spoken to, as OpenTelemetry's standard variables say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from gateway.security.hiding import without_secrets

Signal = Literal["traces", "metrics"]

_GRPC_PORT = 4317


class UnknownCollector(Exception):
    """An address or a protocol that no exporter speaks."""


@dataclass(frozen=True)
class CollectorAddress:
    """A collector, for one signal."""

    endpoint: str
    """As it was given."""
    protocol: Literal["grpc", "http/protobuf"]
    target: str
    """``host:port``, for gRPC."""
    secure: bool
    """Whether gRPC uses TLS."""
    url: str
    """All of it, for HTTP."""


def collector_address(
    signal: Signal, environment: Mapping[str, str], endpoint: str | None = None
) -> CollectorAddress | None:
    """Return where a signal is sent, or ``None`` if no collector is configured.

    The protocol is what ``OTEL_EXPORTER_OTLP[_<SIGNAL>]_PROTOCOL`` says; else OTLP/HTTP for a URL,
    and OTLP/gRPC for one with port 4317 and for ``host:port``.

    Args:
        signal: What is sent.
        environment: ``OTEL_EXPORTER_OTLP[_<SIGNAL>]_ENDPOINT``, ``…_PROTOCOL`` and ``…_INSECURE``
            count, those of the signal first.
        endpoint: ``http://host:4318`` or ``host:4317``; ``None``: what the environment says.

    Raises:
        UnknownCollector: If the address or the protocol cannot be understood.
    """

    def said(name: str) -> str:
        own = environment.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}")
        return own or environment.get(f"OTEL_EXPORTER_OTLP_{name}") or ""

    # The variable of the signal is the whole URL; the others name the collector.
    whole = not endpoint and bool(environment.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"))
    endpoint = endpoint or said("ENDPOINT")
    if not endpoint:
        return None
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        # Not what the error says: that may be a part of a password.
        shown = without_secrets(endpoint)
        raise UnknownCollector(
            f"'{shown}' is no collector's address: its host or port cannot be read"
        ) from error
    if not host or parts.scheme not in ("", "http", "https"):
        shown = without_secrets(endpoint)
        raise UnknownCollector(
            f"'{shown}' is no collector's address: host:4317 or http://host:4318 is"
        )
    default = "http/protobuf" if parts.scheme and port != _GRPC_PORT else "grpc"
    protocol = said("PROTOCOL") or default
    if protocol != "grpc" and protocol != "http/protobuf":
        raise UnknownCollector(f"'{protocol}' is no protocol here: grpc and http/protobuf are")
    # TLS as the URL says; without one as the environment does, else not.
    insecure = said("INSECURE").strip().lower() != "false"
    base = endpoint if parts.scheme else f"http://{endpoint}"
    path = f"/v1/{signal}"
    return CollectorAddress(
        endpoint=endpoint,
        protocol="grpc" if protocol == "grpc" else "http/protobuf",
        target=parts.netloc,
        secure=parts.scheme == "https" if parts.scheme else not insecure,
        url=base if whole or base.endswith(path) else base.rstrip("/") + path,
    )
