"""Gives back the memory that attacks and storms of calls leave with grpc.aio."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Callable

from triton_models.heap import resident_bytes, trim_heap

LOOK_S = 0.5
PAUSE_S = 5.0
"""Between two sweeps, at least, if nothing more is known than that there is more memory."""
REST = 10
"""How many times as long as a sweep took there is none after it: it takes some milliseconds, but
many more where much is under way, and calls wait meanwhile."""
GROWN = 1.05
GROWN_BYTES = 4 * 1024 * 1024
"""How much more memory than after the last sweep is looked through, at least."""


class MemorySweeper:
    """Sweeps up once there is notably more memory than after the last time.

    What calls leave is free, or garbage, soon after they have ended; but the allocator keeps what
    is free, and the garbage collector of a worker comes rarely. Where what is more is in use, there
    is one sweep for each step in which it grows.

    Args:
        resident: Tells how much memory the process has, in bytes.
        collect: Looks for garbage; the event loop waits for it.
        trim: Gives back what is free; on another thread.
        clock: In seconds.
    """

    def __init__(
        self,
        resident: Callable[[], int] = resident_bytes,
        collect: Callable[[], object] = gc.collect,
        trim: Callable[[], object] = trim_heap,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resident = resident
        self._collect = collect
        self._trim = trim
        self._clock = clock
        self._settled = resident()
        self._not_before = self._not_soon_before = clock()
        self._soon = False
        self._again_at = math.inf
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look again and again, in the event loop that runs."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def soon(self) -> None:
        """Have the next look followed by a sweep, as something is known to have been left.

        There is another a while later: a call that had not ended by the first may hold 12 MB.
        """
        self._soon = True

    async def look(self) -> None:
        """Sweep up if it is time to."""
        begun = self._clock()
        again = begun >= self._again_at
        if begun < self._not_soon_before or not (self._soon or again or self._has_grown()):
            return
        if self._soon or again:
            self._again_at = begun + PAUSE_S if self._soon else math.inf
        self._soon = False
        self._collect()
        await asyncio.to_thread(self._trim)
        ended = self._clock()
        self._not_before = begun + PAUSE_S
        self._not_soon_before = ended + REST * (ended - begun)
        self._settled = self._resident()

    def _has_grown(self) -> bool:
        resident = self._resident()
        self._settled = min(self._settled, resident)
        grown = resident > max(GROWN * self._settled, self._settled + GROWN_BYTES)
        return grown and self._clock() >= self._not_before

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()
