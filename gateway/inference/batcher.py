"""Calls that wait together travel to Triton together.

A call that comes alone leaves at once. While a batch is under way, those who come wait, and leave
together when it is back, or earlier if they are enough. A call that follows a batch with company
waits a moment for it. How many are enough and how long a moment is, :mod:`.pace` learns.

Every call has its own future, which is only ever given the answer at its own place of the batch;
who has left (cancelled, deadline passed) is not sent, and never holds up or harms the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from gateway.errors import DeadlineExceeded, ModelContractBroken, Overloaded
from gateway.inference.alarm import Alarm
from gateway.inference.pace import Pace

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


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

    Attributes:
        taken: How many wait.
        refused: How many were.
    """

    def __init__(self, line: str, limit: int) -> None:
        self.line = line
        self.limit = limit
        self.taken = self.refused = 0


class Entry(Generic[ItemT, AnswerT]):
    """One call in a batch."""

    __slots__ = ("came", "client", "deadline", "future", "item", "timer")

    def __init__(
        self,
        item: ItemT,
        future: asyncio.Future[AnswerT],
        deadline: float | None,
        client: Client | None,
        came: float,
    ) -> None:
        self.item = item
        self.future = future
        self.came = came
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
        self._rows_under_way = 0
        self._alone = True
        """Whether the last batch to leave had Triton to itself, and so has to this moment."""
        self._had_company = False
        self._alarm = Alarm(self._lose_patience)

    def close(self) -> None:
        """Give back what it holds of the event loop, once it is idle for good."""
        self._alarm.close()

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
            room.refused += 1
            raise Overloaded(room.line, room.limit)
        now = self._loop.time()
        entry: Entry[ItemT, AnswerT] = Entry(
            item, self._loop.create_future(), deadline, client, now
        )
        if deadline is not None:
            entry.timer = self._loop.call_at(deadline, self._expire, entry)
        self._waiting.append(entry)
        room.taken += 1
        self._pace.came(now)
        self._look(now)
        try:
            return await entry.future
        except asyncio.CancelledError:
            self._forsaken(entry)
            raise
        finally:
            if entry.timer is not None:
                entry.timer.cancel()

    # When a batch leaves.

    def _look(self, now: float) -> None:
        """Let batches leave that should; see to it that the others do in time."""
        while self._waiting and self._may_leave():
            self._leave()
        if self._waiting and not self._under_way:
            patience_s = self._pace.patience(now, self._waiting[0].came)
            if patience_s > 0:
                self._alarm.set(patience_s)
            else:
                self._leave()

    def _may_leave(self) -> bool:
        waiting, under_way = len(self._waiting), len(self._under_way)
        alone = waiting == 1 and not under_way and not self._had_company
        return alone or self._max_rows == 1 or self._pace.may_leave(waiting, under_way)

    def _lose_patience(self) -> None:
        if self._waiting and not self._under_way:
            self._leave()

    def _leave(self) -> None:
        """Send those who are next to Triton."""
        present = len(self._waiting) + self._rows_under_way
        batch = self._next_batch()
        if not batch:
            return
        self._had_company = len(batch) > 1
        self._pace.left(present)
        self._alone = not self._under_way
        task = self._loop.create_task(self._answer(batch))
        self._under_way[task] = batch
        self._rows_under_way += len(batch)
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
        self._rows_under_way -= len(self._under_way.pop(task))
        if self._waiting:
            self._look(self._loop.time())

    # What becomes of it.

    async def _answer(self, batch: list[Entry[ItemT, AnswerT]]) -> None:
        start = self._loop.time()
        try:
            answers = await self._run([entry.item for entry in batch], _last(batch))
        except ModelContractBroken as error:
            if len(batch) == 1:
                _fail(batch, error)
            else:  # it may be the doing of one: each is asked by itself
                await asyncio.gather(*(self._answer([entry]) for entry in batch))
            return
        except asyncio.CancelledError:
            for entry in batch:
                entry.future.cancel()
            raise
        except Exception as error:
            _fail(batch, error)
            return
        if self._alone:
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
