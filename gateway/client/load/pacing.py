"""When each request is due, and a clock that says so to an event loop.

An event loop wakes up to a millisecond late, which is as long as a whole call takes. So a thread
sleeps until each request is due and tells the loop.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence


def due_times(rate: float, duration_s: float, *, even: bool, seed: int) -> list[float]:
    """Return when requests are due, in seconds from the start.

    Args:
        rate: Requests a second.
        duration_s: For how long.
        even: Whether they come in equal distances; else at random and independent of each other,
            as those of many clients do (a Poisson process).
        seed: Of the distances.
    """
    if even:
        return [number / rate for number in range(int(rate * duration_s))]
    chance = random.Random(seed)
    times: list[float] = []
    now = chance.expovariate(rate)
    while now < duration_s:
        times.append(now)
        now += chance.expovariate(rate)
    return times


class Pacer:
    """Calls back on an event loop when something is due.

    Args:
        loop: Where to call.
        start: When it begins, by ``time.perf_counter``.
        times: What is due when, in seconds from ``start``, rising.
        send: Gets the place in ``times``.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        start: float,
        times: Sequence[float],
        send: Callable[[int], object],
    ) -> None:
        self._loop, self._start, self._times, self._send = loop, start, times, send
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped.set()

    def _run(self) -> None:
        for place, due in enumerate(self._times):
            left = self._start + due - time.perf_counter()
            if left > 0:
                time.sleep(left)
            if self._stopped.is_set():
                return
            try:
                self._loop.call_soon_threadsafe(self._send, place)
            except RuntimeError:  # the loop was closed: the program is ending
                return
