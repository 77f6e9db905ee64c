"""Work that calls leave behind: bounded, done by a thread, and never waited for."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

_log = logging.getLogger(__name__)

T = TypeVar("T")

_TURN = 64
"""Items that are worked on before somebody else gets the interpreter."""

Work = Callable[[Sequence[T]], None]


class Background(Generic[T]):
    """A queue and the thread that empties it.

    Args:
        name: Of the thread.
        work: Takes some items; what it raises loses them, and is logged.
        idle: Is called when nothing waits, and at the end with ``True``.
        room: How much may wait, in the unit of ``size`` in :meth:`put`.
        delay_s: How long an item may lie before it is worked on, in seconds.

    Attributes:
        lost: Items on which the work failed.
    """

    def __init__(
        self,
        name: str,
        work: Work[T],
        *,
        idle: Callable[[bool], None] = lambda last: None,
        room: int,
        delay_s: float = 0.2,
    ) -> None:
        self.lost = 0
        self._name = name
        self._work = work
        self._idle = idle
        self._room = room
        self._delay_s = delay_s
        self._items: deque[tuple[T, int]] = deque()
        # Each is written by one thread only, so that none needs a lock.
        self._came = self._overflowed = 0
        self._taken = 0
        self._ending = threading.Event()
        self._failing = False
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Items that did not fit, or on which the work failed."""
        return self._overflowed + self.lost

    def put(self, item: T, size: int = 1) -> None:
        """Leave an item; never waits, never raises."""
        if self._ending.is_set() or self._came - self._taken + size > self._room:
            self._overflowed += 1
            if self._overflowed == 1:
                _log.warning(
                    "%s: what comes is more than can be written; it is counted", self._name
                )
            return
        if self._thread is None and not self._start():
            self._overflowed += 1
            return
        self._came += size
        self._items.append((item, size))

    def close(self, timeout_s: float) -> None:
        """Do what is left, ``timeout_s`` at most."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                _log.warning("%s: the last could not be written in time", self._name)

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads are to be had
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        last = False
        while not last:
            last = self._ending.wait(self._delay_s)
            while self._items:
                self._do([self._items.popleft() for _ in range(min(_TURN, len(self._items)))])
            self._safely(lambda: self._idle(last), 0)  # noqa: B023 - called at once

    def _do(self, some: Sequence[tuple[T, int]]) -> None:
        self._safely(lambda: self._work([item for item, _ in some]), len(some))
        self._taken += sum(size for _, size in some)

    def _safely(self, do: Callable[[], None], count: int) -> None:
        try:
            do()
        except Exception as error:  # a full disk, or a bug of ours: neither may end the thread
            self.lost += count
            if not self._failing:
                _log.error("%s: cannot be written, and is counted: %s", self._name, error)
            self._failing = True
        else:
            self._failing = self._failing and not count
