"""TLS with a Triton, as grpc wants it."""

from __future__ import annotations

import grpc

from gateway.security.tls import ClientTls


def name_options(name: str | None) -> list[tuple[str, str]]:
    """Return what makes grpc ask for another name than the target's own."""
    return [] if name is None else [("grpc.ssl_target_name_override", name)]


def channel_credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    """Return what grpc speaks TLS with.

    Raises:
        UnusableFile: If a certificate cannot be used.
    """
    tls.context()  # grpc would take anything, and connect to nobody
    return grpc.ssl_channel_credentials(
        tls.ca.read_bytes(),
        tls.key.read_bytes() if tls.key else None,
        tls.certificate.read_bytes() if tls.certificate else None,
    )
