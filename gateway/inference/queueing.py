"""Who waits for one batcher, and in which order they leave."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from itertools import groupby
from typing import Generic, Protocol, TypeVar

from gateway.inference.priority import NORMAL
from gateway.inference.refusals import Reason

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


class Client(Protocol):
    """Who asks."""

    def who(self) -> str:
        """Return the name; calls of one name are calls of one client."""
        ...


class WaitingRoom:
    """Where the calls of a line wait, in whichever batch they will leave.

    Args:
        line: Whose calls.
        limit: How many may wait; one more is refused.

    Attributes:
        taken: How many wait.
        refusals: How many were refused, by reason.
    """

    def __init__(self, line: str, limit: int) -> None:
        self.line = line
        self.limit = limit
        self.taken = 0
        self.refusals: Counter[Reason] = Counter()

    @property
    def refused(self) -> int:
        """How many were refused."""
        return self.refusals.total()


class Entry(Generic[ItemT, AnswerT]):
    """One call in a batch."""

    __slots__ = ("came", "client", "deadline", "future", "item", "rank", "tells", "timer")

    def __init__(
        self,
        item: ItemT,
        future: asyncio.Future[AnswerT],
        deadline: float | None,
        client: Client | None,
        came: float,
        rank: int,
    ) -> None:
        self.item = item
        self.rank = rank
        self.future = future
        self.came = came
        self.deadline = deadline
        self.client = client
        self.timer: asyncio.TimerHandle | None = None
        self.tells = False
        """Whether it is sent, though it would be late, to know what batches take."""


class Queue(Generic[ItemT, AnswerT]):
    """Calls that wait, in the order in which they came.

    Args:
        room: Where they wait with those of other queues; it knows of each as long as it is here.
    """

    def __init__(self, room: WaitingRoom) -> None:
        self._room = room
        self._entries: deque[Entry[ItemT, AnswerT]] = deque()
        self._ranked = 0
        """Calls that have come with another priority than the usual one: mostly none."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def first(self) -> Entry[ItemT, AnswerT]:
        """The one that came first."""
        return self._entries[0]

    def add(self, entry: Entry[ItemT, AnswerT]) -> None:
        """Let one more wait."""
        self._entries.append(entry)
        self._room.taken += 1
        self._ranked += entry.rank != NORMAL

    def remove(self, entry: Entry[ItemT, AnswerT]) -> bool:
        """Let one wait no more; return whether it did."""
        if entry not in self._entries:
            return False
        self._entries.remove(entry)
        self._gone((entry,))
        return True

    def pop_first(self) -> Entry[ItemT, AnswerT]:
        """Take the one that came first."""
        entry = self._entries.popleft()
        self._gone((entry,))
        return entry

    def take(self, size: int) -> list[Entry[ItemT, AnswerT]]:
        """Take those who are next, ``size`` at most; clients of one priority take turns."""
        entries = self._entries
        if len(entries) <= size:
            taken = list(entries)
            entries.clear()
        else:
            ordered = sorted(entries, key=lambda one: one.rank) if self._ranked else entries
            taken = _in_turns(ordered, size)
            chosen = set(map(id, taken))
            self._entries = deque(entry for entry in entries if id(entry) not in chosen)
        self._gone(taken)
        return taken

    def cut(self, left: int) -> list[Entry[ItemT, AnswerT]]:
        """Take all but so many: the lowest priority first, then the newest."""
        ordered = sorted(self._entries, key=lambda one: (one.rank, one.came))
        self._entries = deque(sorted(ordered[:left], key=lambda one: one.came))
        self._gone(ordered[left:])
        return ordered[left:]

    def before(self, rank: int) -> int:
        """Return how many would be answered before one more with this rank."""
        if not self._ranked and rank == NORMAL:
            return len(self._entries)
        return sum(one.rank <= rank for one in self._entries)

    def last_below(self, rank: int) -> Entry[ItemT, AnswerT] | None:
        """Return the last of the lowest class below ``rank``, if there is one."""
        if not self._entries or (not self._ranked and rank >= NORMAL):
            return None
        lowest = max(self._entries, key=lambda one: (one.rank, one.came))
        return lowest if lowest.rank > rank else None

    def _gone(self, entries: Sequence[Entry[ItemT, AnswerT]]) -> None:
        self._room.taken -= len(entries)
        if self._ranked:
            self._ranked -= sum(entry.rank != NORMAL for entry in entries)


def _in_turns(
    waiting: Sequence[Entry[ItemT, AnswerT]] | deque[Entry[ItemT, AnswerT]], size: int
) -> list[Entry[ItemT, AnswerT]]:
    """Return ``size`` entries: one of each client in turn, each client's in their order.

    Args:
        waiting: All who wait, the highest priority first: its class is served before the next.
        size: How many; not more than there are.
    """
    taken: list[Entry[ItemT, AnswerT]] = []
    for _rank, entries in groupby(waiting, key=lambda one: one.rank):
        queues: dict[str, deque[Entry[ItemT, AnswerT]]] = {}
        for entry in entries:
            queues.setdefault(entry.client.who() if entry.client else "", deque()).append(entry)
        while queues:
            for client in list(queues):
                taken.append(queues[client].popleft())
                if not queues[client]:
                    del queues[client]
                if len(taken) == size:
                    return taken
    return taken
