"""How a transport protects itself: TLS, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.security.tls import ServerTls

DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
DEFAULT_MESSAGE_S = 60.0


@dataclass(frozen=True)
class Protection:
    """What is asked of connections, and borne with.

    Attributes:
        tls: How it is spoken; ``None``: plain text.
        max_message_bytes: The largest message either way.
        message_s: Time that a message has to come whole, in seconds.
        max_metadata_bytes: The metadata of a call.
        max_metadata_count: Entries of it.
        max_concurrent_streams: Calls that a connection has at a time.
    """

    tls: ServerTls | None = None
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    message_s: float = DEFAULT_MESSAGE_S
    max_metadata_bytes: int = 16 * 1024
    max_metadata_count: int = 100
    max_concurrent_streams: int = 100
