from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from fake_runner import RecordingTrace
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.inference.caching import _OVERHEAD_BYTES, AnswerCache

KEY, OTHER = b"key", b"other"
BIG = 1 << 20


def cache(max_bytes: int = BIG, max_entries: int = 100) -> AnswerCache[bytes]:
    return AnswerCache(max_bytes, max_entries, len)


class Model:
    """Answers when it is let, and counts."""

    def __init__(self, answer: bytes = b"answer") -> None:
        self.answer = answer
        self.runs = 0
        self.let = asyncio.Event()
        self.error: Exception | None = None
        self.asked = asyncio.Semaphore(0)

    async def __call__(self) -> bytes:
        self.runs += 1
        self.asked.release()
        error = self.error
        await self.let.wait()
        if error is not None:
            raise error
        return self.answer


class Caller:
    """Calls that are under way."""

    def __init__(self, cache: AnswerCache[bytes], model: Model) -> None:
        self.cache, self.model = cache, model

    async def __call__(self, key: bytes = KEY, **options: Any) -> bytes:
        return await self.cache.get(key, self.model, model="m", **options)

    def start(self, key: bytes = KEY, **options: Any) -> asyncio.Task[bytes]:
        return asyncio.create_task(self(key, **options))


async def answers_of(*calls: asyncio.Task[bytes]) -> list[bytes]:
    """What calls give; a call that waits for ever fails."""
    return await asyncio.wait_for(asyncio.gather(*calls), 20)


async def settle() -> None:
    """Let everything go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_same_request_again_is_not_run_again() -> None:
    model, answers = Model(), cache()
    model.let.set()
    call = Caller(answers, model)
    traces = [RecordingTrace(), RecordingTrace()]
    assert [await call(trace=trace) for trace in traces] == [b"answer", b"answer"]
    assert [trace.attributes["trident.cache.hit"] for trace in traces] == [False, True]
    assert (model.runs, answers.misses, answers.hits) == (1, 1, 1)


async def test_another_request_is_run() -> None:
    model, answers = Model(), cache()
    model.let.set()
    call = Caller(answers, model)
    await call(KEY)
    await call(OTHER)
    assert (model.runs, len(answers)) == (2, 2)


async def test_identical_requests_at_the_same_time_run_once() -> None:
    model, answers = Model(), cache()
    call = Caller(answers, model)
    traces = [RecordingTrace() for _ in range(5)]
    calls = [call.start(trace=trace) for trace in traces]
    await settle()
    model.let.set()
    assert await answers_of(*calls) == [b"answer"] * 5
    assert model.runs == 1
    hits = [trace.attributes["trident.cache.hit"] for trace in traces]
    assert hits == [False, True, True, True, True]


async def test_an_error_is_raised_by_the_one_who_ran_and_the_next_runs_for_itself() -> None:
    model = Model()
    model.error = ValueError("first")
    call = Caller(cache(), model)
    first, second, third = call.start(), call.start(), call.start()
    await settle()
    model.error = None
    model.let.set()
    with pytest.raises(ValueError, match="first"):
        await answers_of(first)
    assert await answers_of(second, third) == [b"answer"] * 2
    assert model.runs == 2


async def test_an_error_is_not_kept() -> None:
    model, answers = Model(), cache()
    model.error = ValueError("broken")
    model.let.set()
    call = Caller(answers, model)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await call()
    assert (model.runs, len(answers)) == (2, 0)


async def test_one_who_ran_and_was_cancelled_is_followed_by_the_next() -> None:
    model = Model()
    call = Caller(cache(), model)
    first, second, third = call.start(), call.start(), call.start()
    await settle()
    first.cancel()
    await settle()
    assert model.runs == 2
    model.let.set()
    assert await answers_of(second, third) == [b"answer"] * 2
    assert first.cancelled()
    assert model.runs == 2


async def test_one_who_waits_and_is_cancelled_harms_nobody() -> None:
    model = Model()
    call = Caller(cache(), model)
    first, second, third = call.start(), call.start(), call.start()
    await settle()
    second.cancel()
    await settle()
    assert second.cancelled()
    model.let.set()
    assert await answers_of(first, third) == [b"answer"] * 2
    assert model.runs == 1


async def test_the_answer_used_least_recently_goes_first() -> None:
    model, answers = Model(), cache(max_entries=2)
    model.let.set()
    call = Caller(answers, model)
    for key in (b"a", b"b", b"a", b"c"):
        await call(key)
    assert (model.runs, len(answers)) == (3, 2)
    await call(b"a")
    assert model.runs == 3
    await call(b"b")
    assert model.runs == 4


async def test_the_bytes_are_bounded() -> None:
    model = Model(b"x" * 100)
    answers = cache(max_bytes=3 * (100 + _OVERHEAD_BYTES))
    model.let.set()
    call = Caller(answers, model)
    for number in range(10):
        await call(bytes([number]))
    assert len(answers) == 3
    assert answers.kept_bytes == 3 * (100 + _OVERHEAD_BYTES)


async def test_an_answer_that_is_too_large_is_given_to_all_who_wait_and_not_kept() -> None:
    model = Model(b"x" * 1000)
    answers = cache(max_bytes=1000)
    call = Caller(answers, model)
    calls = [call.start(), call.start()]
    await settle()
    model.let.set()
    assert await answers_of(*calls) == [model.answer] * 2
    assert (model.runs, len(answers)) == (1, 0)


async def test_the_answers_of_a_model_that_is_gone_are_forgotten() -> None:
    model, answers = Model(), cache()
    model.let.set()
    for name in ("old", "new"):
        await answers.get(name.encode(), model, model=name)
    answers.keep_only({"new"})
    assert len(answers) == 1
    await answers.get(b"new", model, model="new")
    assert model.runs == 2


async def test_an_answer_that_comes_after_its_model_is_gone_is_given_and_not_kept() -> None:
    model, answers = Model(), cache()
    call = Caller(answers, model)
    calls = [call.start(), call.start()]
    await settle()
    answers.keep_only({"another"})
    model.let.set()
    assert await answers_of(*calls) == [b"answer"] * 2
    assert len(answers) == 0
    answers.keep_only({"m"})
    await call()
    assert len(answers) == 1


@dataclass
class Plan:
    """A call: when it comes, what becomes of it if it runs, when it is given up."""

    key: int
    start: int
    steps: int
    fails: bool
    cancel: int | None
    size: int


@dataclass
class Watched:
    """What the calls of one example did."""

    running: Counter[int] = field(default_factory=Counter)
    runs: Counter[int] = field(default_factory=Counter)
    unkept: set[int] = field(default_factory=set)


class OwnError(Exception):
    """What the run of one call raised."""


def runner(number: int, plan: Plan, watched: Watched) -> Callable[[], Coroutine[Any, Any, Any]]:
    """The run of a call: the answer says the key it belongs to."""

    async def run() -> tuple[int, int]:
        assert watched.running[plan.key] == 0, "two run the same"
        watched.running[plan.key] += 1
        watched.runs[plan.key] += 1
        try:
            for _ in range(plan.steps):
                await asyncio.sleep(0)
            if plan.fails:
                raise OwnError(number)
            return plan.key, plan.size
        finally:
            watched.running[plan.key] -= 1

    return run


async def play(plans: list[Plan], max_bytes: int, max_entries: int, forget: int | None) -> None:
    answers: AnswerCache[tuple[int, int]] = AnswerCache(
        max_bytes, max_entries, lambda answer: answer[1]
    )
    watched = Watched()

    async def one(number: int, plan: Plan) -> object:
        run = runner(number, plan, watched)
        return await answers.get(bytes([plan.key]), run, model=f"m{plan.key % 2}")

    tasks: dict[int, asyncio.Task[object]] = {}
    for step in range(20):
        for number, plan in enumerate(plans):
            if plan.start == step:
                tasks[number] = asyncio.create_task(one(number, plan))
            if plan.cancel == step - plan.start:
                tasks[number].cancel()
        if step == forget:
            answers.keep_only({"m0"})
        await asyncio.sleep(0)
        assert answers.kept_bytes <= max_bytes
        assert len(answers) <= max_entries
    await asyncio.wait(tasks.values(), timeout=20)
    for number, task in tasks.items():
        check(number, plans[number], task)
    assert not answers._running, "something is thought to run"
    assert answers.misses == watched.runs.total()


def check(number: int, plan: Plan, task: asyncio.Task[Any]) -> None:
    """Whether a call ended as it may."""
    assert task.done(), "it waits for ever"
    if task.cancelled():
        assert plan.cancel is not None, "cancelled though nobody cancelled it"
    elif (error := task.exception()) is not None:
        assert plan.fails
        assert repr(error) == repr(OwnError(number)), "raised what another call ran into"
    else:
        assert task.result()[0] == plan.key, "the answer of another request"


plans = st.builds(
    Plan,
    key=st.integers(0, 3),
    start=st.integers(0, 6),
    steps=st.integers(0, 4),
    fails=st.booleans(),
    cancel=st.none() | st.integers(0, 6),
    size=st.integers(0, 2 * _OVERHEAD_BYTES),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(plans, min_size=1, max_size=12),
    st.integers(0, 5 * _OVERHEAD_BYTES),
    st.integers(1, 3),
    st.none() | st.integers(0, 8),
)
def test_whatever_is_kept_fails_or_is_given_up_no_call_gets_a_wrong_answer_or_none(
    plans: list[Plan], max_bytes: int, max_entries: int, forget: int | None
) -> None:
    asyncio.run(play(plans, max_bytes, max_entries, forget))
