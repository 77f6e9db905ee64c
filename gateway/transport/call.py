"""One call as servicers see it, whichever transport it came by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.telemetry.tracing import CallTrace


class Call(Protocol):
    """What a servicer may know of the call it answers."""

    @property
    def method(self) -> str:
        """The full method, such as ``trident.risk.v1.RiskService/ScoreRisk``."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """The text metadata of the client, keys in lower case, the last of repeated keys."""
        ...

    @property
    def peer(self) -> str:
        """The address of the client."""
        ...

    @property
    def received_ns(self) -> int:
        """When the call's message came, in ns since 1970."""
        ...

    @property
    def trace(self) -> CallTrace:
        """The trace of this call."""
        ...

    def time_remaining(self) -> float | None:
        """Return the seconds left until the client's deadline, or ``None`` if it set none."""
        ...
