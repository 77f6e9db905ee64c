"""What an answer costs after Triton has given it: so much less time has Triton."""

from __future__ import annotations

_WEIGHT = 0.1
"""Of a new time in the usual one."""

_MOST = 0.5
"""Of what is left: Triton is asked in any case where there is time at all."""


class AfterTriton:
    """Learns what it takes to make responses of what Triton answers. Times are in seconds."""

    def __init__(self) -> None:
        self.usual_s = 0.0

    def took(self, time_s: float) -> None:
        """Take what the responses to one inference took."""
        self.usual_s += _WEIGHT * (time_s - self.usual_s)

    def less(self, left_s: float) -> float:
        """Return what Triton may take of the time that is left."""
        return left_s - min(self.usual_s, _MOST * left_s) if left_s > 0 else left_s
