"""Answers that were given before, and identical requests that run once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

from gateway.telemetry.metrics.instruments import (
    CACHE_ENTRIES,
    CACHE_HITS,
    CACHE_MISSES,
    CACHE_SIZE,
)
from gateway.telemetry.metrics.readings import Reading
from gateway.telemetry.tracing import NO_TRACE, CallTrace

V = TypeVar("V")

_OVERHEAD_BYTES = 512
"""Of an entry, beside its value: key, places in the tables."""

_HIT = "trident.cache.hit"


@dataclass(frozen=True)
class _Entry(Generic[V]):
    value: V
    model: str
    size: int
    """In bytes."""


class AnswerCache(Generic[V]):
    """The answers asked for last, bounded in bytes and in number.

    Whoever asks for what somebody else is already running waits for that instead. If it fails or
    is cancelled, those who wait are not harmed: the first of them runs it for itself, and the
    others wait for that. Errors are never kept.

    Belongs to one event loop. Values must never be changed: many callers get the same one.

    Args:
        max_bytes: Of all that is kept, in bytes.
        max_entries: Number of answers that are kept.
        size: Tells the bytes of a value.

    Attributes:
        hits: Calls that were answered with what was kept, or by what another call ran.
        misses: Calls that ran.
    """

    def __init__(self, max_bytes: int, max_entries: int, size: Callable[[V], int]) -> None:
        self.hits = 0
        self.misses = 0
        self._max_entries = max_entries
        self._size = size
        self._entries: LRUCache[bytes, _Entry[V]] = LRUCache(max_bytes, lambda entry: entry.size)
        self._running: dict[bytes, asyncio.Future[tuple[V] | None]] = {}
        self._models: frozenset[str] | None = None  # all

    def __len__(self) -> int:
        """Return the number of answers that are kept."""
        return len(self._entries)

    @property
    def kept_bytes(self) -> int:
        """The bytes of all that is kept."""
        return int(self._entries.currsize)

    def readings(self) -> tuple[Reading, ...]:
        """Return its metrics."""
        return (
            Reading(CACHE_HITS, (), self.hits),
            Reading(CACHE_MISSES, (), self.misses),
            Reading(CACHE_ENTRIES, (), len(self)),
            Reading(CACHE_SIZE, (), self.kept_bytes),
        )

    async def get(
        self,
        key: bytes,
        run: Callable[[], Awaitable[V]],
        *,
        model: str,
        trace: CallTrace = NO_TRACE,
    ) -> V:
        """Return the answer to a request.

        Args:
            key: The same for requests that must have the same answer, and only for those: a
                strong digest of everything that the answer depends on.
            run: Finds the answer. What it raises is raised here, and by no other call.
            model: Who answers; see :meth:`keep_only`. The same for one key.
            trace: Is told whether the call was spared.
        """
        while True:
            entry = self._entries.get(key)
            if entry is not None:
                self._hit(trace)
                return entry.value
            running = self._running.get(key)
            if running is None:
                self.misses += 1
                trace.set_attribute(_HIT, False)
                return await self._run(key, run, model)
            # Shielded: one who stops waiting does not end it for the others.
            answer = await asyncio.shield(running)
            if answer is not None:
                self._hit(trace)
                return answer[0]

    def keep_only(self, models: Collection[str]) -> None:
        """Forget the answers of all other models, also those that are still to come."""
        self._models = frozenset(models)
        gone = [key for key, entry in self._entries.items() if entry.model not in self._models]
        for key in gone:
            del self._entries[key]

    async def _run(self, key: bytes, run: Callable[[], Awaitable[V]], model: str) -> V:
        """Run for all who ask from now on, and keep the answer."""
        running = asyncio.get_running_loop().create_future()
        self._running[key] = running
        answer: tuple[V] | None = None
        try:
            value = await run()
            answer = (value,)
            self._keep(key, value, model)
            return value
        finally:
            # Also if it failed or was cancelled: then the first who waits runs it next.
            del self._running[key]
            running.set_result(answer)

    def _keep(self, key: bytes, value: V, model: str) -> None:
        size = self._size(value) + _OVERHEAD_BYTES
        if size > self._entries.maxsize or (self._models is not None and model not in self._models):
            return
        self._entries[key] = _Entry(value, model, size)
        while len(self._entries) > self._max_entries:
            self._entries.popitem()

    def _hit(self, trace: CallTrace) -> None:
        self.hits += 1
        trace.set_attribute(_HIT, True)
