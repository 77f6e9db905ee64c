"""The settings that bound what clients and domains may have: docs/faults.md."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.security.addresses import canonical_address
from gateway.security.client import ClientKind


def client_name(text: str) -> str:
    """Return a client's name as calls have it.

    Raises:
        ValueError: If no client can have it.
    """
    kind, _, name = text.partition(":")
    if kind in set(ClientKind) and name:
        return text
    address = canonical_address(text)
    if address is None:
        kinds = ", ".join(f"{one}:NAME" for one in ClientKind)
        raise ValueError(f"{text!r} is no client: write {kinds} or an address without a port")
    return address


class ClientLimit(BaseModel):
    """What a client may have; ``None``: as much as it wants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float | None = Field(default=None, gt=0)
    """Requests a second, in the long run; those in a batch count one by one."""

    burst: float | None = Field(default=None, ge=1)
    """Requests that may come at once; by default as many as in a second, and at least one."""

    quota: int | None = Field(default=None, ge=1)
    """Requests in each period."""

    quota_period_s: float = Field(default=86_400, gt=0)
    """The period, in seconds."""

    concurrent: int | None = Field(default=None, ge=1)
    """Calls that are answered at a time; a stream counts for each of its elements."""

    priority: Literal["high", "normal", "low"] | None = None
    """The highest that it may ask for with ``x-trident-priority``, and what it has unasked."""

    @property
    def tokens(self) -> float:
        """What its bucket holds when it is full."""
        return self.burst if self.burst is not None else max(1.0, self.rate or 1.0)

    @property
    def bounds(self) -> bool:
        """Whether it bounds anything."""
        return any((self.rate, self.quota, self.concurrent, self.priority))
