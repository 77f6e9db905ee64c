"""When a call that comes now would be answered, and whether its queue stands.

A queue that absorbs a burst is good: it gets shorter by itself. A queue that stays as long as it is
gives every call the same wait for nothing. Controlled delay (CoDel, RFC 8289) tells them apart by
time, not by length: a queue stands once nobody has waited *less* than a bound for a whole
interval. Then only so many may wait as are answered within a target, which is much less.

The bound is larger than the target, which in the RFC it is not: clients that ask one call after the
other fill a queue that stays as long as they are many, and refusing them makes nothing faster.
"""

from __future__ import annotations

_WEIGHT = 0.1
"""Of a new measurement."""
_MOST_TIMES = 4.0
"""Of the usual time of a batch, as one counts at most that was late by chance."""
_FIRST = 3
"""Batches of which the quickest is the usual one: the very first may find all cold."""

STANDS_S = 1.0
_STANDS_BATCHES = 4.0
"""A queue in which somebody has waited less, or less than so many batches take, does not stand."""

_INTERVAL_S = 0.1
_CALM_S = 1.0
_FEW = 0.25
"""A queue stands no more if fewer of those who came in a second had to be refused."""
_LEAST_TARGET_S = 0.005
_TARGET = 0.5
"""Of the time of a batch: what a call may wait before its own leaves, while the queue stands."""

_HOPELESS = 0.5
"""Of the usual time of a batch: some are much faster, nearly none so much."""
_FRESH_S = 1.0
_LET_THROUGH = 10
"""Of so many hopeless calls one is sent: only what is sent tells that batches are quick again."""


class Forecast:
    """Of the calls of one batcher. Times are in seconds.

    Args:
        now: The time.
        max_rows: The largest batch: so many may wait in any case.
        stands_s: What all must have waited for the queue to stand; 0: the target; ``None``: none
            ever does.

    Attributes:
        batch_s: What a batch takes from its leaving to its answer; 0 while unknown.
        rate: Calls that are answered in a second while some wait; 0 while unknown.
    """

    def __init__(self, now: float, max_rows: int, stands_s: float | None = STANDS_S) -> None:
        self.batch_s = self.rate = 0.0
        self._max_rows = max_rows
        self._stands_s = stands_s
        self._short_at = self._back_at = now
        self._busy_since: float | None = None
        self._stands = False
        self._backs = self._hopeless = 0
        self._window_at = now
        self._came = self._refused = 0
        """Calls that came to a queue that stands, and those of them that were refused."""

    def left(self, now: float, waited_s: float) -> None:
        """Note that a batch leaves.

        Args:
            now: The time.
            waited_s: For how long the first of it has waited.
        """
        bound_s = self.target_s
        if self._stands_s:
            bound_s = max(self._stands_s, _STANDS_BATCHES * self.batch_s)
        if waited_s <= bound_s:
            self._short_at = now

    def back(self, rows: int, time_s: float, now: float, *, busy: bool) -> None:
        """Note that a batch is back.

        Args:
            rows: Its size.
            time_s: What it took.
            now: The time.
            busy: Whether calls wait: then answers come as fast as they can.
        """
        self._back_at = now
        self._backs += 1
        if self._backs <= _FIRST:
            self.batch_s = min(time_s, self.batch_s or time_s)
        else:
            most_s = _MOST_TIMES * self.batch_s
            self.batch_s += _WEIGHT * (min(time_s, most_s) - self.batch_s)
        if self._busy_since is not None and now > self._busy_since:
            rate = rows / (now - self._busy_since)
            # Of the time that each call takes, not of the rate: several batches come at once.
            each_s = 1 / self.rate if self.rate else 1 / rate
            self.rate = 1 / (each_s + _WEIGHT * (min(1 / rate, _MOST_TIMES * each_s) - each_s))
        self._busy_since = now if busy else None

    @property
    def target_s(self) -> float:
        """What a call may wait while the queue stands."""
        return max(_LEAST_TARGET_S, _TARGET * self.batch_s)

    def wait_s(self, waiting: int) -> float:
        """Return what a call takes to its answer behind ``waiting`` others; 0 if unknown."""
        return self.batch_s + (waiting / self.rate if self.rate else 0.0)

    def hopeless(self, now: float, left_s: float) -> bool:
        """Return whether a call with so much time left would not even be answered alone.

        Only for as long as that was measured just now: else one had to be sent to know.
        """
        return left_s < _HOPELESS * self.batch_s and now - self._back_at < _FRESH_S

    def lets_through(self) -> bool:
        """Return whether a hopeless call that has just come is sent all the same."""
        self._hopeless = (self._hopeless + 1) % _LET_THROUGH
        return self._hopeless == 0

    def limit(self, now: float) -> int | None:
        """Return how many may wait if the queue stands; ``None`` if it does not.

        Once it has stood it does so for a while, until few had to be refused: else as many as come
        in an interval would be let in each time that it was short for a moment.
        """
        if self._stands_s is None:
            return None
        interval_s = max(_INTERVAL_S, 2 * self.batch_s)
        if not self._stands:
            if not self.rate or now - self._short_at <= interval_s:
                return None
            self._stands = True
            self._look_on(now)
        elif now - self._window_at > max(_CALM_S, interval_s):
            idle = now - self._window_at > 3 * max(_CALM_S, interval_s)
            if idle or self._refused < _FEW * self._came:
                self._stands, self._short_at = False, now
                return None
            self._look_on(now)
        self._came += 1
        return max(self._max_rows, round(self.rate * self.target_s))

    def refused(self) -> None:
        """Note that a call was refused because the queue stands."""
        self._refused += 1

    def _look_on(self, now: float) -> None:
        self._window_at = now
        self._came = self._refused = 0

    def empty(self, now: float) -> None:
        """Note that nobody waits."""
        self._short_at = now
