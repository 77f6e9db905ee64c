"""Who takes part in a call, as tracing knows them."""

from __future__ import annotations

from typing import Protocol


class Caller(Protocol):
    """What tracing asks of a transport's call."""

    method: str
    received_ns: int

    def header(self, key: str) -> str | None:
        """Return the last text metadata with this key."""
        ...

    def peer(self) -> str:
        """Return the client's address, as gRPC writes it."""
        ...


class Answerer(Protocol):
    """What tracing asks of a release."""

    @property
    def line(self) -> str:
        """The line that it belongs to."""
        ...

    @property
    def release(self) -> str:
        """Its name within the line."""
        ...

    @property
    def variant(self) -> str:
        """Which of its models answers."""
        ...
