"""Tasks of releases: at most one for each at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from gateway.triton.routed import Key


class ReleaseTasks:
    """What is under way, by release."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._tasks

    def begin(self, key: Key, work: Coroutine[Any, Any, None]) -> None:
        """Begin the one of a release."""
        task = self._tasks[key] = asyncio.create_task(work)
        task.add_done_callback(partial(self._ended, key))

    async def end(self, key: Key) -> None:
        """Cancel the one of a release, and wait until it has ended."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def cancel(self) -> None:
        """Cancel all."""
        for task in self._tasks.values():
            task.cancel()

    async def ended(self) -> None:
        """Return when those that are under way have ended, in whatever way."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:  # also if it was cancelled before it began
            del self._tasks[key]
