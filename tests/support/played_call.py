"""A call as a transport would give it, but made by a test."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.transport.call import Call, Pair


class PlayedCall(Call):
    """A call that a test makes.

    Args:
        pairs: Its metadata.
        left_s: Time until its deadline; ``None``: it has none.
        method: The full one.
        who: Says who calls, for a test's own authenticator.
    """

    def __init__(
        self, *pairs: Pair, left_s: float | None = None, method: str = "?", who: str = ""
    ) -> None:
        super().__init__(method, 17)
        self._pairs = pairs
        self.left_s = left_s
        self.who = who

    def pairs(self) -> Sequence[Pair]:
        return self._pairs

    def peer(self) -> str:
        return "ipv4:10.0.0.1:1"

    def time_remaining(self) -> float | None:
        return self.left_s
