"""How many calls may be at Triton, and how many may wait for that."""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.errors import DeadlineExceeded, Overloaded


class Admission:
    """Lets ``in_flight`` calls of a line through at a time and ``waiting`` wait, in their order.

    Args:
        line: Whose calls; each line has its own, so that a slow one holds up no other.
        in_flight: Calls at Triton at a time.
        waiting: Calls that wait; one more is refused.

    Attributes:
        refused: Calls that were.
        in_flight: As given.
        max_waiting: ``waiting``, as given.
    """

    def __init__(self, line: str, in_flight: int, waiting: int) -> None:
        self.refused = 0
        self.in_flight = in_flight
        self.max_waiting = waiting
        self._line = line
        self._free = in_flight
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def active(self) -> int:
        """Calls that are at Triton."""
        return self.in_flight - self._free

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    async def enter(self, timeout_s: float | None) -> None:
        """Take a place, waiting for one if need be; give it back with :meth:`leave`.

        Raises:
            Overloaded: If too many wait already.
            DeadlineExceeded: If no place came free in time.
        """
        if self._free > 0:
            self._free -= 1
            return
        if len(self._waiting) >= self.max_waiting:
            self.refused += 1
            raise Overloaded(self._line, self.max_waiting)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            # Not `wait_for`, which in Python 3.11 can swallow a cancellation.
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place came in the moment of giving up: the next one takes it
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(self._line) from None
            raise

    def leave(self) -> None:
        """Give a place back: to the one that waits longest, if any does."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was given up
                turn.set_result(None)
                return
        self._free += 1
