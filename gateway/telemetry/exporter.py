"""What takes spans away: to a file, or to a collector."""

from __future__ import annotations

from typing import Protocol

from gateway.telemetry.span_encoding import SpanEncoder


class SendFailed(Exception):
    """An exporter could not send; the spans are lost."""

    def __init__(self, detail: str, rejected: int | None = None) -> None:
        super().__init__(detail)
        self.rejected = rejected
        """How many of them; ``None``: all."""


class Exporter(Protocol):
    """Takes spans away. Used by one thread."""

    @property
    def encoder(self) -> SpanEncoder:
        """The encoding that it takes."""
        ...

    @property
    def at_once(self) -> int:
        """How many requests it likes to send together."""
        ...

    def send(self, *requests: bytes) -> None:
        """Send ``ExportTraceServiceRequest``s, :attr:`at_once` at most.

        Raises:
            SendFailed: If it could not.
        """
        ...

    def close(self) -> None:
        """Give up what it is sending, and what it holds."""
        ...
