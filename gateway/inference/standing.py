"""What is known of one Triton as it answers for one release: how fast, how well, how much at once.

Only numbers are kept here; what follows from them is decided in :mod:`.fleet`.
"""

from __future__ import annotations

_WEIGHT = 0.1
"""Of a new time in the usual one: about the last twenty count."""

_MOST_TIMES = 4.0
"""Of the usual time, as a new one counts at most."""

_LARGER = 2.0
"""An inference of so many times the usual rows is large: what it takes is no usual time."""

_LARGE_SHARE = 0.2
"""Of the time of a large inference, if each row took what it usually does, that counts as usual."""

_OVERDUE_S = 0.3
"""An answer that has taken so long already is late, without waiting for it."""

_WINDOW = 0x3FF
"""The last ten outcomes, a bit each."""

_PAUSE_S = 0.5
"""After so long without anything under way, a silence begins anew; the time between two
inferences is no part of it in any case."""

FEWEST_TIMES = 5
"""Before so many answers, nothing is said of how fast they come."""

SLOW_START_S = 10.0
_FIRST_WEIGHT = 0.1


class Attempt:
    """One inference at one Triton.

    Args:
        standing: Of the Triton, for the release.
        start: The time at which it was sent, in seconds.
        rows: Its size.
    """

    __slots__ = ("rows", "standing", "start")

    def __init__(self, standing: Standing, start: float, rows: int) -> None:
        self.standing = standing
        self.start = start
        self.rows = rows


class Standing:
    """One Triton for one release. Times are in seconds.

    Args:
        now: The time.
        fresh: Whether it comes to others who answer already: then it gets little at first.

    Attributes:
        usual_s: What an answer usually takes; moves with the last ones.
        deviation_s: How far they usually lie from that.
        answers: How many came.
    """

    def __init__(self, now: float, *, fresh: bool) -> None:
        self.usual_s = self.deviation_s = 0.0
        self.answers = 0
        self._usual_rows = 1.0
        self._silent_s = 0.0
        """Of the silence until ``_asked``: what it owed an answer then, and did not give."""
        self._asked = self._idle = now
        self._since = now if fresh else now - SLOW_START_S
        self._failed = self._refused = 0
        self._under_way: dict[Attempt, None] = {}

    @property
    def failed(self) -> int:
        """Of the last ten, those that brought no answer, or one that made no sense."""
        return self._failed.bit_count()

    @property
    def refused(self) -> int:
        """Of the last ten, those that Triton answered with an error of its own."""
        return self._refused.bit_count()

    def begin(self, now: float, rows: int = 1) -> Attempt:
        """Note that an inference of so many rows is sent."""
        if not self._under_way:  # it owes an answer only from now on, however long it was idle
            self._asked = now
            # Calls with little time come and go while a Triton hangs: their silences are one.
            if now - self._idle > _PAUSE_S:
                self._silent_s = 0.0
        attempt = Attempt(self, now, rows)
        self._under_way[attempt] = None
        return attempt

    def answered(self, attempt: Attempt, now: float) -> None:
        """Note an answer that makes sense."""
        del self._under_way[attempt]
        time_s = now - attempt.start
        self._break_silence(now)
        self._idle = now
        self.answers += 1
        self._learn(attempt.rows, time_s)
        if self._failed or self._refused:
            self._failed = self._failed << 1 & _WINDOW
            self._refused = self._refused << 1 & _WINDOW

    def fell(self, attempt: Attempt, now: float) -> None:
        """Note an inference without an answer, or with one that made no sense."""
        self.over(attempt, now)
        self._break_silence(now)
        self._failed = (self._failed << 1 | 1) & _WINDOW

    def refuses(self, attempt: Attempt, now: float) -> None:
        """Note an error that Triton gave as its answer: its fault, or the request's."""
        self.over(attempt, now)
        self._break_silence(now)
        self._refused = (self._refused << 1 | 1) & _WINDOW

    def over(self, attempt: Attempt, now: float) -> None:
        """Note an end without an answer: the caller left, or its time was over."""
        del self._under_way[attempt]
        self._idle = now
        if not self._under_way:
            self._silent_s += now - self._asked

    def forgive(self) -> None:
        """Count failures from here on."""
        self._failed = self._refused = 0

    def silent_s(self, now: float) -> float:
        """Return for how long it has owed an answer and given none; 0 if it owes none."""
        return self._silent_s + now - self._asked if self._under_way else 0.0

    def due_s(self) -> float:
        """Return the usual time, or more if something large is under way."""
        if not self._under_way:
            return self.usual_s
        most = max(attempt.rows for attempt in self._under_way)
        return max(self.usual_s, _LARGE_SHARE * self._expected_s(most))

    def time_s(self, now: float) -> float:
        """Return what an answer usually takes, or has taken already if that is more."""
        silent_s = self.silent_s(now)
        if silent_s <= max(_OVERDUE_S, self.usual_s):
            return self.usual_s
        most = max(attempt.rows for attempt in self._under_way)
        return silent_s if silent_s > self._expected_s(most) else self.usual_s

    def weight(self, now: float) -> float:
        """Return its part of what it will get later, in (0, 1]: the slow start."""
        share = (now - self._since) / SLOW_START_S
        return 1.0 if share >= 1 else _FIRST_WEIGHT + (1 - _FIRST_WEIGHT) * max(0.0, share)

    def _break_silence(self, now: float) -> None:
        self._silent_s, self._asked = 0.0, now

    def _expected_s(self, rows: int) -> float:
        """Return what an inference should take: rather too much, as rows together cost less."""
        return self.usual_s * max(1.0, rows / self._usual_rows)

    def _learn(self, rows: int, time_s: float) -> None:
        if self.answers == 1:
            self.usual_s, self.deviation_s, self._usual_rows = time_s, time_s / 2, float(rows)
            return
        if rows > _LARGER * self._usual_rows:
            time_s *= self._usual_rows / rows
            if time_s <= self.usual_s:
                return  # as was to be expected
        else:
            self._usual_rows += _WEIGHT * (rows - self._usual_rows)
        # One that is late by chance, such as on a busy machine, moves the usual time a little.
        off_s = min(time_s, _MOST_TIMES * self.usual_s) - self.usual_s
        self.usual_s += _WEIGHT * off_s
        self.deviation_s += _WEIGHT * (abs(off_s) - self.deviation_s)
