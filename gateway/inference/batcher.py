"""Calls that wait together travel to Triton together.

A call that comes alone leaves at once. While a batch is under way, those who come wait, and leave
together when it is back, or earlier if they are enough (:mod:`.pace`). A call that follows a batch
with company waits a moment for it: as long as every turn of the event loop brings another one.

Every call has its own future, which is only ever given the answer at its own place of the batch;
who has left (cancelled, deadline passed) is not sent, and never holds up or harms the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from gateway.errors import DeadlineExceeded, ModelContractBroken, Overloaded
from gateway.inference.pace import Pace

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")

QUIET_TURNS = 2
"""Turns of the event loop without a new call after which nobody is taken to be on the way."""


class Client(Protocol):
    """Who asks."""

    def peer(self) -> str:
        """Return the address; calls of one address are calls of one client."""
        ...


class WaitingRoom:
    """Where the calls of a line wait, in whichever batch they will leave.

    Args:
        line: Whose calls.
        limit: How many may wait; one more is refused.
    """

    def __init__(self, line: str, limit: int) -> None:
        self.line = line
        self.limit = limit
        self.taken = 0


class Entry(Generic[ItemT, AnswerT]):
    """One call in a batch."""

    __slots__ = ("client", "deadline", "future", "item", "timer")

    def __init__(
        self,
        item: ItemT,
        future: asyncio.Future[AnswerT],
        deadline: float | None,
        client: Client | None,
    ) -> None:
        self.item = item
        self.future = future
        self.deadline = deadline
        self.client = client
        self.timer: asyncio.TimerHandle | None = None


Run = Callable[[Sequence[ItemT], float | None], Awaitable[Sequence[AnswerT]]]


class Batcher(Generic[ItemT, AnswerT]):
    """Makes batches of what is asked of one model.

    Args:
        run: Answers the items of a batch, in their order, given the time of the event loop at
            which nobody waits for them any more (``None``: there is no such time).
        room: Bounds how many wait.
        max_rows: The largest batch; each item is one row.
        pace: Decides when a batch leaves.
    """

    def __init__(
        self,
        run: Run[ItemT, AnswerT],
        room: WaitingRoom,
        max_rows: int,
        pace: Pace | None = None,
    ) -> None:
        self._run = run
        self._room = room
        self._max_rows = max_rows
        self._pace = pace or Pace()
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Entry[ItemT, AnswerT]] = deque()
        self._under_way: dict[asyncio.Task[None], list[Entry[ItemT, AnswerT]]] = {}
        self._had_company = False
        self._looking = False
        self._seen = 0
        self._quiet = 0
        self._leave_by = 0.0

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing is under way."""
        return not self._waiting and not self._under_way

    async def ask(
        self, item: ItemT, deadline: float | None, client: Client | None = None
    ) -> AnswerT:
        """Return the answer to one item.

        Args:
            item: What to ask.
            deadline: The event loop's time after which the answer is of no use, if there is one.
            client: Who asks: clients take turns where not all can be in the next batch.

        Raises:
            Overloaded: If too many wait already.
            DeadlineExceeded: If the deadline passes.
            GatewayError: Whatever ``run`` raises.
        """
        room = self._room
        if room.taken >= room.limit:
            raise Overloaded(room.line, room.limit)
        entry = Entry[ItemT, AnswerT](item, self._loop.create_future(), deadline, client)
        if deadline is not None:
            entry.timer = self._loop.call_at(deadline, self._expire, entry)
        self._waiting.append(entry)
        room.taken += 1
        self._look()
        try:
            return await entry.future
        except asyncio.CancelledError:
            self._forsaken(entry)
            raise
        finally:
            if entry.timer is not None:
                entry.timer.cancel()

    # When a batch leaves.

    def _look(self) -> None:
        """Let batches leave that should; come back later if one may soon."""
        while self._waiting and self._may_leave():
            self._leave()
        waiting = len(self._waiting)
        if waiting and not self._under_way and not self._looking:
            self._looking = True
            self._seen, self._quiet = waiting, 0
            self._leave_by = self._loop.time() + self._pace.patience_s
            self._loop.call_soon(self._turn)

    def _may_leave(self) -> bool:
        waiting, under_way = len(self._waiting), len(self._under_way)
        alone = waiting == 1 and not under_way and not self._had_company
        return alone or self._max_rows == 1 or self._pace.may_leave(waiting, under_way)

    def _turn(self) -> None:
        """See whether this turn of the event loop brought anybody."""
        waiting = len(self._waiting)
        if not waiting or self._under_way:
            self._looking = False
            return
        self._quiet = 0 if waiting > self._seen else self._quiet + 1
        self._seen = waiting
        if self._quiet < QUIET_TURNS and self._loop.time() < self._leave_by:
            self._loop.call_soon(self._turn)
            return
        self._looking = False
        self._leave()
        self._look()

    def _leave(self) -> None:
        """Send those who are next to Triton."""
        batch = self._next_batch()
        if not batch:
            return
        self._had_company = len(batch) > 1
        task = self._loop.create_task(self._answer(batch, alone=not self._under_way))
        self._under_way[task] = batch
        task.add_done_callback(self._back)

    def _next_batch(self) -> list[Entry[ItemT, AnswerT]]:
        """Take those who leave now out of the queue, without those who have given up."""
        waiting = self._waiting
        if len(waiting) <= self._max_rows:
            taken = list(waiting)
            waiting.clear()
        else:
            taken = _in_turns(waiting, self._max_rows)
            chosen = set(map(id, taken))
            self._waiting = deque(entry for entry in waiting if id(entry) not in chosen)
        self._room.taken -= len(taken)
        return [entry for entry in taken if not entry.future.done()]

    def _back(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        if self._waiting:
            self._look()

    # What becomes of it.

    async def _answer(self, batch: list[Entry[ItemT, AnswerT]], *, alone: bool) -> None:
        start = self._loop.time()
        try:
            answers = await self._run([entry.item for entry in batch], _last(batch))
        except ModelContractBroken as error:
            if len(batch) == 1:
                _fail(batch, error)
            else:  # it may be the doing of one: each is asked by itself
                await asyncio.gather(*(self._answer([entry], alone=False) for entry in batch))
            return
        except asyncio.CancelledError:
            for entry in batch:
                entry.future.cancel()
            raise
        except Exception as error:
            _fail(batch, error)
            return
        if alone:
            self._pace.learn(len(batch), self._loop.time() - start)
        for entry, answer in zip(batch, answers, strict=True):
            if not entry.future.done():
                entry.future.set_result(answer)

    def _expire(self, entry: Entry[ItemT, AnswerT]) -> None:
        if not entry.future.done():
            entry.future.set_exception(DeadlineExceeded(self._room.line))
            self._forsaken(entry)

    def _forsaken(self, entry: Entry[ItemT, AnswerT]) -> None:
        """Forget a call that nobody waits for; a batch that nobody waits for is called off."""
        if entry in self._waiting:
            self._waiting.remove(entry)
            self._room.taken -= 1
            return
        for task, batch in self._under_way.items():
            if entry in batch:
                if all(other.future.done() for other in batch):
                    task.cancel()
                return


def _in_turns(
    waiting: Sequence[Entry[ItemT, AnswerT]] | deque[Entry[ItemT, AnswerT]], size: int
) -> list[Entry[ItemT, AnswerT]]:
    """Return ``size`` entries: one of each client in turn, each client's in their order."""
    queues: dict[str, deque[Entry[ItemT, AnswerT]]] = {}
    for entry in waiting:
        queues.setdefault(entry.client.peer() if entry.client else "", deque()).append(entry)
    taken: list[Entry[ItemT, AnswerT]] = []
    while len(taken) < size:
        for client in list(queues):
            taken.append(queues[client].popleft())
            if not queues[client]:
                del queues[client]
            if len(taken) == size:
                break
    return taken


def _last(batch: Sequence[Entry[ItemT, AnswerT]]) -> float | None:
    """Return when the last of a batch gives up, or ``None`` if one never does."""
    last = 0.0
    for entry in batch:
        if entry.deadline is None:
            return None
        last = max(last, entry.deadline)
    return last


def _fail(batch: Sequence[Entry[ItemT, AnswerT]], error: Exception) -> None:
    for entry in batch:
        if not entry.future.done():
            entry.future.set_exception(error)
