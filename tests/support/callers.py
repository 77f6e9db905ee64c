"""Who asks a batcher."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """A client at an address."""

    address: str

    def who(self) -> str:
        return self.address
