"""What an answer costs after Triton has given it: so much less time has Triton."""

from __future__ import annotations

_WEIGHT = 0.1
"""Of a new time in the usual one."""

_MOST = 0.5
"""Of what is left: Triton is asked in any case where there is time at all."""


class AfterTriton:
    """Learns what it takes to make responses of what Triton answers. Times are in seconds.

    Each line has its own time: pictures take a hundred times as long as numbers.
    """

    def __init__(self) -> None:
        self._usual_s: dict[str, float] = {}

    def took(self, line: str, time_s: float) -> None:
        """Take what the responses to one inference took."""
        usual_s = self._usual_s.get(line, 0.0)
        self._usual_s[line] = usual_s + _WEIGHT * (time_s - usual_s)

    def less(self, line: str, left_s: float) -> float:
        """Return what Triton may take of the time that is left."""
        usual_s = self._usual_s.get(line, 0.0)
        return left_s - min(usual_s, _MOST * left_s) if left_s > 0 else left_s
