"""How many inferences may be at Triton: as many as it computes at a time, and a few more.

More than that only wait there, where nobody can call them off or change their order. The limit is
found as Netflix's concurrency-limits (``GradientLimit``) and Envoy's adaptive concurrency
(``gradient_controller``) find theirs::

    gradient  = min(1, tolerance × time alone / time now)
    new limit = gradient × limit + headroom,  headroom = √limit / 2

With ``c`` inferences computed at a time and ``n`` there, the time is ``n/c`` of the time alone, so
the limit settles a little above ``c``. Both of those measure the time alone by holding nearly all
calls back now and then. Here it is known of every size of batch, from those that had Triton to
themselves; only where none has for long, one is let through by itself.
"""

from __future__ import annotations

from math import sqrt

from gateway.inference.cost import BatchCost

LEAST = 2
"""One that is computed, and one that is there when it is done."""

_TOLERANCE = 1.25
"""Times vary, and a Triton that is busy with other models is no reason to send it nothing."""
_STEEPEST = 0.5
_WINDOW_S = 0.2
_FEWEST = 8
"""Inferences in a window."""
_KNOWN_FOR_S = 30.0
"""So long holds what was measured alone, where the limit would go down by it."""
_BOUND = 0.8
"""The limit may grow if so much of it was used."""


class AdaptiveLimit:
    """Learns the limit of one line. Times are in seconds.

    Args:
        most: It never exceeds that, and begins there.
        now: The time.

    Attributes:
        limit: How many may be at Triton.
    """

    def __init__(self, most: int, now: float) -> None:
        self.limit = most
        self._most = most
        self._least = min(LEAST, most)
        self._exact = float(most)
        self._cost = BatchCost()
        self._alone_at = now
        self._probing = False
        self._window_at = now
        self._expected = self._measured = 0.0
        self._count = self._at_a_time = 0

    @property
    def now(self) -> int:
        """How many may be there at this moment: one, while the time alone is measured."""
        return 1 if self._probing else self.limit

    def ended(self, rows: int, time_s: float, at_a_time: int, now: float) -> None:
        """Take note of an inference that was answered.

        Args:
            rows: Its size.
            time_s: What it took.
            at_a_time: The most that were at Triton while it was there, itself too.
            now: The time.
        """
        if at_a_time == 1:
            self._cost.learn(rows, time_s)
            self._alone_at = now
            self._probing = False
            return
        if not self._cost.known:
            self._probing = now - self._window_at >= _WINDOW_S
            return
        self._expected += self._cost.expected_s(rows)
        self._measured += time_s
        self._count += 1
        self._at_a_time = max(self._at_a_time, at_a_time)
        if self._count >= _FEWEST and now - self._window_at >= _WINDOW_S:
            self._move(now)
            self._begin(now)

    def _move(self, now: float) -> None:
        gradient = min(1.0, _TOLERANCE * self._expected / self._measured)
        used = min(self._exact, float(self._at_a_time))
        if gradient < 1:
            if now - self._alone_at > _KNOWN_FOR_S:
                self._probing = True
                return
            self._exact = max(_STEEPEST, gradient) * used + sqrt(used) / 2
        elif used >= _BOUND * self._exact:
            self._exact += sqrt(self._exact) / 2
        self._exact = min(max(self._exact, float(self._least)), float(self._most))
        self.limit = round(self._exact)

    def _begin(self, now: float) -> None:
        self._window_at = now
        self._expected = self._measured = 0.0
        self._count = self._at_a_time = 0
