"""What the settings say of connections, as objects: TLS, and how much is taken.

It imports little: a worker asks it before it becomes an Envoy.
"""

from __future__ import annotations

from gateway.security.tls import ClientTls, ServerTls
from gateway.settings import Settings
from gateway.transport.protection import Protection


def protection_of(settings: Settings) -> Protection:
    """Return how a transport protects itself."""
    return Protection(
        tls=server_tls(settings),
        max_message_bytes=settings.max_message_bytes,
        message_s=settings.message_timeout_s,
        max_metadata_bytes=settings.max_metadata_bytes,
        max_metadata_count=settings.max_metadata_count,
        max_concurrent_streams=settings.max_concurrent_streams,
    )


def server_tls(settings: Settings) -> ServerTls | None:
    """Return how TLS is spoken with clients, if it is."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)


def triton_tls(settings: Settings) -> ClientTls | None:
    """Return how TLS is spoken with Tritons, if it is."""
    if settings.triton_tls_ca is None:
        return None
    return ClientTls(
        settings.triton_tls_ca, settings.triton_tls_certificate, settings.triton_tls_key
    )
