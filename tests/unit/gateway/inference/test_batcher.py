from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from callers import Caller
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    ModelContractBroken,
    ModelUnavailable,
    Overloaded,
)
from gateway.inference.batcher import Batcher
from gateway.inference.pace import WORTH_WITHOUT_KNOWLEDGE, Pace
from gateway.inference.priority import NORMAL
from gateway.inference.queueing import WaitingRoom

LINE = "score-risk"


@dataclass
class Model:
    """Answers ``n`` with ``"answer n"``; a test holds it, or has it fail."""

    batches: list[list[int]] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)
    cancelled: int = 0
    error: Exception | None = None
    poison: frozenset[int] = frozenset()
    free: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.free.set()

    async def run(self, items: Sequence[int], deadline: float | None) -> list[str]:
        self.batches.append(list(items))
        self.deadlines.append(deadline)
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        if self.poison & set(items):
            raise ModelContractBroken(LINE, "r1")
        return [f"answer {item}" for item in items]


@pytest.fixture
def model() -> Model:
    return Model()


Asks = Callable[..., "asyncio.Task[str]"]


class Pairs(Pace):
    """Two leave together, whatever is under way."""

    def may_leave(self, waiting: int, under_way: int) -> bool:
        return waiting >= 2


class Never(Pace):
    """None leaves while another is under way."""

    def may_leave(self, waiting: int, under_way: int) -> bool:
        return under_way == 0


class Bench:
    """A batcher of a model, and tasks that ask it."""

    def __init__(
        self, model: Model, limit: int = 512, max_rows: int = 64, pace: Pace | None = None
    ) -> None:
        self.model = model
        self.room = WaitingRoom(LINE, limit)
        self.batcher: Batcher[int, str] = Batcher(model.run, self.room, max_rows, pace)

    def ask(
        self, item: int, timeout_s: float | None = None, client: str = "", rank: int = NORMAL
    ) -> asyncio.Task[str]:
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        return loop.create_task(self.batcher.ask(item, deadline, Caller(client), rank))

    async def asked(self, items: Sequence[int]) -> list[asyncio.Task[str]]:
        tasks = [self.ask(item) for item in items]
        await turns()
        return tasks


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_call_that_comes_alone_leaves_at_once(model: Model) -> None:
    bench = Bench(model)
    task = bench.ask(1)
    await turns(2)  # one to ask, one for the batch to begin
    assert model.batches == [[1]]
    assert await task == "answer 1"


async def test_calls_that_come_while_a_batch_is_under_way_leave_together(model: Model) -> None:
    bench = Bench(model)
    model.free.clear()
    first = await bench.asked([1])
    others = await bench.asked([2, 3, 4])
    assert model.batches == [[1]]
    model.free.set()
    assert await asyncio.gather(*first, *others) == [f"answer {n}" for n in (1, 2, 3, 4)]
    assert model.batches == [[1], [2, 3, 4]]
    assert bench.batcher.idle


async def test_enough_calls_leave_although_a_batch_is_under_way(model: Model) -> None:
    bench = Bench(model)
    model.free.clear()
    await bench.asked([0])
    tasks = await bench.asked(range(1, WORTH_WITHOUT_KNOWLEDGE + 1))
    assert [len(batch) for batch in model.batches] == [1, WORTH_WITHOUT_KNOWLEDGE]
    model.free.set()
    await asyncio.gather(*tasks)


async def test_after_company_a_call_waits_for_those_on_the_way(model: Model) -> None:
    bench = Bench(model)
    model.free.clear()
    tasks = await bench.asked(range(1 + WORTH_WITHOUT_KNOWLEDGE))
    model.free.set()
    await asyncio.gather(*tasks)
    before = len(model.batches)
    late = [bench.ask(item) for item in (6, 7, 8)]  # half of those who came before
    await asyncio.gather(*late)
    assert len(model.batches[before]) > 1


async def test_nobody_waits_for_company_that_does_not_come(model: Model) -> None:
    bench = Bench(model)
    model.free.clear()
    tasks = await bench.asked([1])
    tasks += await bench.asked([2, 3])
    model.free.set()
    await asyncio.gather(*tasks)
    async with asyncio.timeout(20):
        assert await bench.ask(4) == "answer 4"
        assert await bench.ask(5) == "answer 5"
    assert model.batches[2:] == [[4], [5]]


async def test_a_batch_is_no_larger_than_allowed(model: Model) -> None:
    bench = Bench(model, max_rows=3)
    model.free.clear()
    tasks = await bench.asked(range(20))
    model.free.set()
    await asyncio.gather(*tasks)
    assert max(map(len, model.batches)) == 3
    assert sorted(item for batch in model.batches for item in batch) == list(range(20))


async def test_without_batching_each_call_goes_by_itself_and_none_waits(model: Model) -> None:
    bench = Bench(model, max_rows=1)
    model.free.clear()
    tasks = await bench.asked(range(20))
    assert model.batches == [[item] for item in range(20)]
    model.free.set()
    await asyncio.gather(*tasks)


async def test_clients_take_turns_where_not_all_can_go(model: Model) -> None:
    bench = Bench(model, max_rows=4)
    model.free.clear()
    first = bench.ask(0)
    await turns()
    greedy = [bench.ask(100 + n, client="greedy") for n in range(9)]
    modest = [bench.ask(200 + n, client="modest") for n in range(2)]
    await turns()
    model.free.set()
    await asyncio.gather(first, *greedy, *modest)
    (with_modest,) = (batch for batch in model.batches if 200 in batch)
    assert with_modest.index(200) <= 1
    assert [n for batch in model.batches for n in batch if 100 <= n < 200] == list(range(100, 109))


async def test_one_more_than_may_wait_is_refused(model: Model) -> None:
    bench = Bench(model, limit=3)
    model.free.clear()
    tasks = await bench.asked(range(4))  # one is under way, three wait
    with pytest.raises(Overloaded):
        await bench.ask(5)
    assert bench.room.taken == 3
    model.free.set()
    await asyncio.gather(*tasks)
    assert bench.room.taken == 0


async def test_a_room_is_shared_by_the_batchers_of_a_line(model: Model) -> None:
    bench = Bench(model, limit=2)
    other: Batcher[int, str] = Batcher(model.run, bench.room, 64)
    model.free.clear()
    tasks = await bench.asked(range(3))
    with pytest.raises(Overloaded):
        await other.ask(7, None)
    model.free.set()
    await asyncio.gather(*tasks)


async def test_a_call_whose_deadline_passes_while_it_waits_is_not_sent(model: Model) -> None:
    bench = Bench(model)
    model.free.clear()
    first = await bench.asked([1])
    late = bench.ask(2, timeout_s=0.01)
    with pytest.raises(DeadlineExceeded):
        await late
    assert bench.room.taken == 0
    model.free.set()
    await asyncio.gather(*first)
    await turns()
    assert model.batches == [[1]]


async def test_a_call_whose_deadline_passes_at_the_model_leaves_its_mates_alone(
    model: Model,
) -> None:
    bench = Bench(model, pace=Pairs())
    model.free.clear()
    first = await bench.asked([1])
    mates = [bench.ask(2, timeout_s=0.02), bench.ask(3)]
    await turns()
    assert model.batches == [[1], [2, 3]]
    with pytest.raises(DeadlineExceeded):
        await mates[0]
    model.free.set()
    assert await asyncio.gather(*first, mates[1]) == ["answer 1", "answer 3"]


async def test_a_batch_has_as_long_as_the_most_patient_of_its_calls(model: Model) -> None:
    bench = Bench(model)
    model.free.clear()
    tasks = await bench.asked([1])
    tasks += [bench.ask(2, timeout_s=50), bench.ask(3, timeout_s=90)]
    await turns()
    model.free.set()
    await asyncio.gather(*tasks)
    now = asyncio.get_running_loop().time()
    assert model.deadlines[0] is None
    assert model.deadlines[1] == pytest.approx(now + 90, abs=20)


async def test_a_batch_that_nobody_waits_for_any_more_is_called_off(model: Model) -> None:
    bench = Bench(model)
    model.free.clear()
    (task,) = await bench.asked([1])
    task.cancel()
    await turns()
    assert model.cancelled == 1
    assert bench.batcher.idle


async def test_one_caller_that_leaves_does_not_take_the_batch_from_the_others(
    model: Model,
) -> None:
    bench = Bench(model, pace=Pairs())
    model.free.clear()
    first = await bench.asked([1])
    second, third = await bench.asked([2, 3])
    assert model.batches == [[1], [2, 3]]
    second.cancel()
    await turns()
    assert second.cancelled()
    assert model.cancelled == 0
    model.free.set()
    assert await asyncio.gather(*first, third) == ["answer 1", "answer 3"]


async def test_an_error_of_triton_reaches_every_call_of_the_batch(model: Model) -> None:
    bench = Bench(model)
    model.free.clear()
    tasks = await bench.asked([1, 2, 3])
    model.error = ModelUnavailable(LINE, "Triton does not answer")
    model.free.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, ModelUnavailable) for result in results)
    model.error = None
    assert await bench.ask(4) == "answer 4"


async def test_what_one_call_breaks_harms_no_other(model: Model) -> None:
    bench = Bench(model)
    model.poison = frozenset({3})
    model.free.clear()
    tasks = await bench.asked([1, 2, 3, 4])
    model.free.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, ModelContractBroken) for result in results] == [
        False, False, True, False,
    ]  # fmt: skip
    assert [results[0], results[1], results[3]] == ["answer 1", "answer 2", "answer 4"]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 12), st.sampled_from(["a", "b", "c"])),
        st.tuples(st.just("turn"), st.integers(1, 4), st.just("")),
        st.tuples(st.just("cancel"), st.integers(0, 60), st.just("")),
        st.tuples(st.just("expire"), st.integers(1, 3), st.just("")),
        st.tuples(st.just("hold"), st.just(0), st.just("")),
        st.tuples(st.just("free"), st.just(0), st.just("")),
        st.tuples(st.just("break"), st.just(0), st.just("")),
        st.tuples(st.just("mend"), st.just(0), st.just("")),
    ),
    max_size=40,
)


class Play:
    """Calls that come, leave and fail as told, and what became of them."""

    def __init__(self, max_rows: int, limit: int, poison: frozenset[int]) -> None:
        self.model = Model(poison=poison)
        self.bench = Bench(self.model, limit, max_rows)
        self.tasks: list[asyncio.Task[str]] = []
        self.cancelled: set[int] = set()

    async def act(self, name: str, number: int, client: str) -> None:
        if name in ("ask", "expire"):
            timeout_s = 0 if name == "expire" else None
            for _ in range(number):
                self.tasks.append(self.bench.ask(len(self.tasks), timeout_s, client))
        elif name == "cancel" and number < len(self.tasks):
            self.cancelled.add(number)
            self.tasks[number].cancel()
        elif name == "hold":
            self.model.free.clear()
        elif name == "free":
            self.model.free.set()
        elif name in ("break", "mend"):
            self.model.error = ModelUnavailable(LINE, "gone") if name == "break" else None
        await turns(number)

    async def end(self) -> list[str | BaseException]:
        self.model.free.set()
        async with asyncio.timeout(20):
            results = await asyncio.gather(*self.tasks, return_exceptions=True)
            while not self.bench.batcher.idle:
                await asyncio.sleep(0)
        return results

    def check(self, item: int, result: str | BaseException) -> None:
        poisonous = item in self.model.poison
        if isinstance(result, asyncio.CancelledError):
            assert item in self.cancelled
        elif isinstance(result, ModelContractBroken):
            assert poisonous
        elif not isinstance(result, GatewayError):
            assert result == f"answer {item}"
            assert not poisonous


@given(
    operations=OPERATIONS,
    max_rows=st.integers(1, 9),
    limit=st.integers(1, 40),
    poison=st.frozensets(st.integers(0, 80), max_size=6),
)
@settings(max_examples=300, deadline=None)
def test_no_answer_reaches_the_wrong_caller_and_nobody_is_left_waiting(
    operations: list[tuple[str, int, str]], max_rows: int, limit: int, poison: frozenset[int]
) -> None:
    """Whatever the sizes, the failures, the cancellations and the deadlines."""

    async def run() -> None:
        play = Play(max_rows, limit, poison)
        for operation in operations:
            await play.act(*operation)
        for item, result in enumerate(await play.end()):
            play.check(item, result)
        assert play.bench.room.taken == 0
        assert all(len(batch) <= max_rows for batch in play.model.batches)

    asyncio.run(run())


async def held(bench: Bench, *ranks: int) -> list[asyncio.Task[str]]:
    """Calls that wait behind one that is under way; the last ones are those of ``ranks``."""
    bench.model.free.clear()
    first = bench.ask(0)
    await turns()
    tasks = [bench.ask(100 + place, rank=rank) for place, rank in enumerate(ranks)]
    await turns()
    return [first, *tasks]


async def test_a_higher_priority_leaves_first(model: Model) -> None:
    bench = Bench(model, max_rows=2, pace=Pairs())
    model.free.clear()
    bench.batcher._places = lambda: 1
    tasks = await held(bench, 2, 1, 1, 0, 2, 0)
    model.free.set()
    await asyncio.gather(*tasks)
    assert model.batches[1:] == [[103, 105], [101, 102], [100, 104]]


async def test_a_higher_priority_takes_the_place_of_the_last_of_the_lowest(model: Model) -> None:
    bench = Bench(model, limit=3, pace=Never())
    _, first, second, third = await held(bench, 1, 2, 2)
    high = bench.ask(1, rank=0)
    await turns()
    with pytest.raises(Overloaded, match="higher priority"):
        await third
    normal = bench.ask(2, rank=1)
    await turns()
    with pytest.raises(Overloaded, match="higher priority"):
        await second
    for rank in (1, 2):
        with pytest.raises(Overloaded, match="3 calls already wait"):
            await bench.ask(3, rank=rank)
    assert bench.room.refusals == {"displaced": 2, "full": 2}
    assert not any(task.done() for task in (first, high, normal))
    model.free.set()
    assert await asyncio.gather(first, high, normal) == ["answer 100", "answer 1", "answer 2"]


async def test_a_call_whose_turn_comes_after_its_deadline_is_refused_at_once(model: Model) -> None:
    bench = Bench(model, pace=Never())
    bench.batcher.forecast.batch_s, bench.batcher.forecast.rate = 0.1, 10.0
    tasks = await held(bench, 1, 1, 1, 1)
    with pytest.raises(Overloaded, match="the deadline would pass") as refused:
        await bench.ask(1, timeout_s=0.3)
    assert refused.value.retry_after_s == pytest.approx(0.5)
    in_time = bench.ask(2, timeout_s=20)
    ahead = bench.ask(3, timeout_s=0.3, rank=0)  # before all of them
    await turns()
    assert not in_time.done()
    assert not ahead.done()
    assert bench.room.refusals == {"deadline": 1}
    model.free.set()
    await asyncio.gather(*tasks, in_time, ahead)


async def test_a_call_with_less_time_than_an_answer_takes_does_not_reach_triton(
    model: Model,
) -> None:
    bench = Bench(model)
    now = asyncio.get_running_loop().time()
    bench.batcher.forecast.back(1, 10.0, now, busy=False)
    with pytest.raises(DeadlineExceeded):
        await bench.ask(1, timeout_s=1)
    assert model.batches == []
    assert bench.room.refusals == {"deadline": 1}


async def test_a_queue_that_stands_holds_less_than_may_wait(model: Model) -> None:
    bench = Bench(model, max_rows=2, pace=Never())
    forecast = bench.batcher.forecast
    tasks = await held(bench, 1, 1, 1)
    forecast.batch_s, forecast.rate, forecast._short_at = 0.01, 400.0, 0.0
    with pytest.raises(Overloaded, match="2 calls already wait"):
        await bench.ask(1)
    assert bench.room.refusals == {"overload": 2}, "one of those before, too"
    model.free.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, Overloaded) for one in results] == [False, False, False, True]


async def test_no_more_batches_are_under_way_than_have_places(model: Model) -> None:
    bench = Bench(model, max_rows=2, pace=Pairs())
    bench.batcher._places = lambda: 2
    model.free.clear()
    tasks = [bench.ask(item) for item in range(20)]
    await turns()
    assert len(model.batches) == 2
    model.free.set()
    await asyncio.gather(*tasks)
    assert sorted(item for batch in model.batches for item in batch) == list(range(20))


async def test_when_a_queue_is_seen_to_stand_those_who_would_keep_it_long_are_refused(
    model: Model,
) -> None:
    bench = Bench(model, max_rows=2, pace=Never())
    first, *waiting = await held(bench, 1, 1, 0, 1, 1)
    forecast = bench.batcher.forecast
    forecast.batch_s, forecast.rate, forecast._short_at = 0.01, 400.0, 0.0
    with pytest.raises(Overloaded):
        await bench.ask(1)
    results = await asyncio.gather(*waiting[1:2], *waiting[3:], return_exceptions=True)
    assert all(isinstance(one, Overloaded) for one in results)
    assert bench.room.refusals == {"overload": 4}
    assert bench.room.taken == 2
    model.free.set()
    assert await asyncio.gather(first, waiting[0], waiting[2]) == [
        "answer 0", "answer 100", "answer 102",
    ]  # fmt: skip
    assert bench.room.taken == 0


@pytest.mark.parametrize(("stands_s", "refused"), [(0, 4), (None, 0)])
async def test_a_queue_that_may_stand_refuses_nobody(
    stands_s: float | None, refused: int, model: Model
) -> None:
    bench = Bench(model, max_rows=2, pace=Never())
    bench.batcher = Batcher(model.run, bench.room, 2, Never(), stands_s=stands_s)
    first, *waiting = await held(bench, 1, 1, 1, 1, 1)
    forecast = bench.batcher.forecast
    forecast.batch_s, forecast.rate, forecast._short_at = 0.01, 400.0, 0.0
    last = bench.ask(9)
    await turns()
    model.free.set()
    found = await asyncio.gather(first, *waiting, last, return_exceptions=True)
    assert sum(isinstance(one, Overloaded) for one in found) == refused
    assert bench.room.refused == refused


async def test_one_of_ten_hopeless_calls_is_sent_and_tells_that_batches_are_quick_again(
    model: Model,
) -> None:
    bench = Bench(model)
    for _ in range(3):
        bench.batcher.forecast.back(1, 100.0, asyncio.get_running_loop().time(), busy=False)
    found = await asyncio.gather(
        *(bench.ask(number, timeout_s=20) for number in range(10)), return_exceptions=True
    )
    assert [type(one) for one in found[:9]] == [DeadlineExceeded] * 9
    assert found[9] == "answer 9"
    assert bench.batcher.forecast.batch_s < 100, "it was learnt from"


async def test_who_would_be_late_does_not_leave_with_the_batch(model: Model) -> None:
    bench = Bench(model, pace=Never())
    model.free.clear()
    first = bench.ask(0)
    await turns()
    late, patient = bench.ask(1, timeout_s=1), bench.ask(2, timeout_s=60)
    await turns()
    for _ in range(3):
        bench.batcher.forecast.back(1, 10.0, asyncio.get_running_loop().time(), busy=False)
    model.free.set()
    with pytest.raises(DeadlineExceeded):
        await late
    assert await asyncio.gather(first, patient) == ["answer 0", "answer 2"]
    assert model.batches == [[0], [2]]
    assert bench.room.refusals == {"deadline": 1}
