"""What takes spans away: to a file, or to a collector."""

from __future__ import annotations

from typing import Protocol, TypeVar

from gateway.telemetry.span_encoding import SpanEncoder

T = TypeVar("T")


class SendFailed(Exception):
    """An exporter could not send; the spans are lost."""

    def __init__(self, detail: str, rejected: int | None = None) -> None:
        super().__init__(detail)
        self.rejected = rejected
        """How many of them; ``None``: all."""


class Exporter(Protocol[T]):
    """Takes spans away. Used by one thread."""

    @property
    def encoder(self) -> SpanEncoder[T]:
        """The encoding that it takes."""
        ...

    def send(self, request: bytes) -> None:
        """Send an ``ExportTraceServiceRequest``.

        Raises:
            SendFailed: If it could not.
        """
        ...

    def close(self) -> None:
        """Give up what it is sending, and what it holds."""
        ...
