"""Calls that wait together travel to Triton together.

A call that comes alone leaves at once. While a batch is under way, those who come wait, and leave
together when it is back, or earlier if they are enough. A call that follows a batch with company
waits a moment for it. How many are enough and how long a moment is, :mod:`.pace` learns.

Every call has its own future, which is only ever given the answer at its own place of the batch;
who has left (cancelled, deadline passed) is not sent, and never holds up or harms the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic

from gateway.errors import DeadlineExceeded, ModelContractBroken, Overloaded
from gateway.inference.alarm import Alarm
from gateway.inference.forecast import STANDS_S, Forecast
from gateway.inference.pace import MOST_UNDER_WAY, Pace
from gateway.inference.priority import NORMAL
from gateway.inference.queueing import AnswerT, Client, Entry, ItemT, Queue, WaitingRoom
from gateway.inference.refusals import DEADLINE, DISPLACED, FULL, OVERLOAD

Run = Callable[[Sequence[ItemT], float | None], Awaitable[Sequence[AnswerT]]]


class Batcher(Generic[ItemT, AnswerT]):
    """Makes batches of what is asked of one model.

    Args:
        run: Answers the items of a batch, in their order, given the time of the event loop at
            which nobody waits for them any more (``None``: there is no such time).
        room: Bounds how many wait.
        max_rows: The largest batch; each item is one row.
        pace: Decides when a batch leaves.
        places: Tells how many batches may be at Triton now.
        stands_s: As :class:`.forecast.Forecast` has it.
    """

    def __init__(
        self,
        run: Run[ItemT, AnswerT],
        room: WaitingRoom,
        max_rows: int,
        pace: Pace | None = None,
        places: Callable[[], int] = lambda: MOST_UNDER_WAY,
        stands_s: float | None = STANDS_S,
    ) -> None:
        self._run = run
        self._places = places
        self._room = room
        self._max_rows = max_rows
        self._pace = pace or Pace()
        self._loop = asyncio.get_running_loop()
        self.forecast = Forecast(self._loop.time(), max_rows, stands_s)
        self._waiting: Queue[ItemT, AnswerT] = Queue(room)
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
        self,
        item: ItemT,
        deadline: float | None,
        client: Client | None = None,
        rank: int = NORMAL,
    ) -> AnswerT:
        """Return the answer to one item.

        Args:
            item: What to ask.
            deadline: The event loop's time after which the answer is of no use, if there is one.
            client: Who asks: clients take turns where not all can be in the next batch.
            rank: Of its priority; the lower, the sooner.

        Raises:
            Overloaded: If too many wait already, or one with a higher priority takes its place, or
                its deadline would pass while it waits.
            DeadlineExceeded: If the deadline passes.
            GatewayError: Whatever ``run`` raises.
        """
        room = self._room
        now = self._loop.time()
        hopeless = deadline is not None and self.forecast.hopeless(now, deadline - now)
        if hopeless and not self.forecast.lets_through():
            room.refusals[DEADLINE] += 1
            raise DeadlineExceeded(room.line)
        if self._waiting or room.taken >= room.limit:
            self._make_room(now, deadline, rank)
        entry: Entry[ItemT, AnswerT] = Entry(
            item, self._loop.create_future(), deadline, client, now, rank
        )
        entry.tells = hopeless
        if deadline is not None:
            entry.timer = self._loop.call_at(deadline, self._expire, entry)
        self._waiting.add(entry)
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
            # Its future holds an error that holds this frame: the garbage collector need not come.
            del entry

    # Who may wait.

    def _make_room(self, now: float, deadline: float | None, rank: int) -> None:
        """See to it that one more may wait, at the cost of one with a lower priority if need be."""
        room, forecast, waiting = self._room, self.forecast, len(self._waiting)
        if deadline is not None and 0 < deadline - now < forecast.wait_s(
            self._waiting.before(rank)
        ):
            room.refusals[DEADLINE] += 1
            raise Overloaded(room.line, retry_after_s=forecast.wait_s(waiting), why=DEADLINE)
        standing = forecast.limit(now) if waiting else None
        if standing is not None and waiting > standing:
            self._shed(standing)
        full = room.taken >= room.limit
        if not full and (standing is None or waiting < standing):
            return
        if self._displace(rank):
            return
        room.refusals[FULL if full else OVERLOAD] += 1
        forecast.refused()
        limit = room.limit if full or standing is None else standing
        raise Overloaded(room.line, limit, retry_after_s=max(0.1, 2 * forecast.wait_s(waiting)))

    def _shed(self, left: int) -> None:
        """Refuse all but so many of those who wait: the lowest priority first, then the newest.

        They came before it was known that the queue stands, and would keep it long.
        """
        shed, room = self._waiting.cut(left), self._room
        room.refusals[OVERLOAD] += len(shed)
        retry_s = max(0.1, self.forecast.wait_s(left))
        for entry in shed:
            if not entry.future.done():
                entry.future.set_exception(Overloaded(room.line, left, retry_after_s=retry_s))

    def _drop_late(self, now: float) -> None:
        """Refuse those who are next and would not get their answer in time any more."""
        waiting = self._waiting
        while waiting:
            deadline = waiting.first.deadline
            if deadline is None or waiting.first.tells:
                return
            if not self.forecast.hopeless(now, deadline - now):
                return
            entry = waiting.pop_first()
            self._room.refusals[DEADLINE] += 1
            if not entry.future.done():
                entry.future.set_exception(DeadlineExceeded(self._room.line))

    def _displace(self, rank: int) -> bool:
        """Refuse the last of the lowest class below ``rank``, if there is one."""
        lowest = self._waiting.last_below(rank)
        if lowest is None:
            return False
        self._room.refusals[DISPLACED] += 1
        if not lowest.future.done():
            lowest.future.set_exception(Overloaded(self._room.line, why=DISPLACED))
        self._waiting.remove(lowest)
        return True

    # When a batch leaves.

    def _look(self, now: float) -> None:
        """Let batches leave that should; see to it that the others do in time."""
        while self._waiting and self._may_leave():
            self._leave()
        if self._waiting and not self._under_way:
            patience_s = self._pace.patience(now, self._waiting.first.came)
            if patience_s > 0:
                self._alarm.set(patience_s)
            else:
                self._leave()

    def _may_leave(self) -> bool:
        waiting, under_way = len(self._waiting), len(self._under_way)
        alone = waiting == 1 and not under_way and not self._had_company
        if alone or self._max_rows == 1:
            return True
        if under_way and under_way >= self._places():
            return False
        return self._pace.may_leave(waiting, under_way)

    def _lose_patience(self) -> None:
        if self._waiting and not self._under_way:
            self._leave()

    def _leave(self) -> None:
        """Send those who are next to Triton."""
        present = len(self._waiting) + self._rows_under_way
        now = self._loop.time()
        self._drop_late(now)
        if not self._waiting:
            return
        self.forecast.left(now, now - self._waiting.first.came)
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
        taken = self._waiting.take(self._max_rows)
        if not self._waiting:
            self.forecast.empty(self._loop.time())
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
                stayed = [entry for entry in batch if not entry.future.done()]
                await asyncio.gather(*(self._answer([entry]) for entry in stayed))
            return
        except asyncio.CancelledError:
            for entry in batch:
                entry.future.cancel()
            raise
        except Exception as error:
            _fail(batch, error)
            return
        now = self._loop.time()
        self.forecast.back(len(batch), now - start, now, busy=bool(self._waiting))
        if self._alone:
            self._pace.learn(len(batch), now - start)
        for entry, answer in zip(batch, answers, strict=True):
            if not entry.future.done():
                entry.future.set_result(answer)

    def _expire(self, entry: Entry[ItemT, AnswerT]) -> None:
        if not entry.future.done():
            entry.future.set_exception(DeadlineExceeded(self._room.line))
            self._forsaken(entry)

    def _forsaken(self, entry: Entry[ItemT, AnswerT]) -> None:
        """Forget a call that nobody waits for; a batch that nobody waits for is called off."""
        if self._waiting.remove(entry):
            return
        for task, batch in self._under_way.items():
            if entry in batch:
                if all(other.future.done() for other in batch):
                    task.cancel()
                return


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
