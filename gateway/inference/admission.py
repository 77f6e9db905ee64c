"""How many calls may be at Triton, and how many may wait for that."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from gateway.errors import DeadlineExceeded, Overloaded
from gateway.inference.adaptive import AdaptiveLimit
from gateway.inference.priority import SHARED, Turn
from gateway.inference.refusals import DEADLINE, DISPLACED, FULL, Reason
from gateway.inference.turns import Turns

_WEIGHT = 0.1
"""Of a new time in the usual one."""


class Visit:
    """One inference that was let through."""

    __slots__ = ("at_a_time", "entered", "since")

    def __init__(self, since: float, at_a_time: int, entered: int) -> None:
        self.since = since
        self.at_a_time = at_a_time
        self.entered = entered


class Admission:
    """Lets ``in_flight`` calls of a line through at a time and ``waiting`` wait for their turn.

    Args:
        line: Whose calls; each line has its own, so that a slow one holds up no other.
        in_flight: Calls at Triton at a time.
        waiting: Calls that wait; one more is refused.
        adaptive: Whether ``in_flight`` is only the most, and what helps is learnt.

    Attributes:
        refusals: Calls that were refused, by reason.
        max_waiting: ``waiting``, as given.
    """

    def __init__(self, line: str, in_flight: int, waiting: int, *, adaptive: bool = False) -> None:
        self.refusals: Counter[Reason] = Counter()
        self.max_waiting = waiting
        self.active = 0
        """Calls that are at Triton."""
        self._in_flight = in_flight
        self._adaptive = AdaptiveLimit(in_flight, time.monotonic()) if adaptive else None
        self._line = line
        self._entered = 0
        self._usual_s = 0.0
        self._waiting: Turns[asyncio.Future[None]] = Turns()

    @property
    def refused(self) -> int:
        """Calls that were refused."""
        return self.refusals.total()

    @property
    def in_flight(self) -> int:
        """How many may be at Triton at a time, now."""
        return self._in_flight if self._adaptive is None else self._adaptive.now

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    async def enter(self, timeout_s: float | None, turn: Turn = SHARED) -> Visit:
        """Take a place, waiting for one if need be; give it back with :meth:`leave`.

        Args:
            timeout_s: Time that is left; ``None``: as much as it takes.
            turn: Whose turn it is waited for: higher classes first, clients of one in turns.

        Raises:
            Overloaded: If too many wait already, or one of a higher class takes its place, or
                those who wait will take all the time there is.
            DeadlineExceeded: If no place came free in time.
        """
        if self.active < self.in_flight and not self._waiting:
            return self._let_in()
        wait_s = self._usual_s * (1 + (self._waiting.before(turn.rank) + 1) / self.in_flight)
        if timeout_s is not None and 0 < timeout_s < wait_s:
            self.refusals[DEADLINE] += 1
            raise Overloaded(self._line, retry_after_s=wait_s, why=DEADLINE)
        if len(self._waiting) >= self.max_waiting and not self._displace(turn.rank):
            self.refusals[FULL] += 1
            raise Overloaded(self._line, self.max_waiting)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(turn, place)
        try:
            # Not `wait_for`, which in Python 3.11 can swallow a cancellation.
            async with asyncio.timeout(timeout_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled() and place.exception() is None:
                # The place came in the moment of giving up: the next one takes it.
                self.active -= 1
                self._let_others_in()
            else:
                self._waiting.remove(turn, place)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(self._line) from None
            raise
        return self._visit()

    def leave(self, visit: Visit | None = None, rows: int = 0) -> None:
        """Give a place back: to whoever is next, if anybody waits.

        Args:
            visit: From :meth:`enter`, if it was answered.
            rows: What it asked for.
        """
        if visit is not None:
            now = time.monotonic()
            time_s = now - visit.since
            self._usual_s += _WEIGHT * (time_s - self._usual_s) if self._usual_s else time_s
            if self._adaptive is not None:
                at_a_time = max(visit.at_a_time, self.active)
                if at_a_time == 1 and visit.entered != self._entered:
                    at_a_time = 2  # another one came, and has left already
                self._adaptive.ended(rows, time_s, at_a_time, now)
        self.active -= 1
        self._let_others_in()

    def _let_others_in(self) -> None:
        while self._waiting and self.active < self.in_flight:
            place = self._waiting.take()
            if not place.done():  # else it was given up
                self.active += 1
                place.set_result(None)

    def _displace(self, rank: int) -> bool:
        """Refuse one of a lower class that waits, if there is one."""
        lowest = self._waiting.take_last_below(rank)
        if lowest is None:
            return False
        self.refusals[DISPLACED] += 1
        if not lowest.done():
            lowest.set_exception(Overloaded(self._line, why=DISPLACED))
        return True

    def _let_in(self) -> Visit:
        self.active += 1
        return self._visit()

    def _visit(self) -> Visit:
        self._entered += 1
        return Visit(time.monotonic(), self.active, self._entered)
