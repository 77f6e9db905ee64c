from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.errors import DeadlineExceeded, Overloaded
from gateway.inference.admission import Admission
from gateway.inference.priority import RANKS, Turn

LINE = "score-risk"


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


def enter(admission: Admission, timeout_s: float | None = None) -> asyncio.Task[None]:
    return asyncio.create_task(admission.enter(timeout_s))


async def free_places(admission: Admission) -> int:
    """How many can enter now; they stay."""
    count = 0
    while True:
        task = enter(admission)
        await settle()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return count
        count += 1


async def test_as_many_enter_at_once_as_there_are_places() -> None:
    admission = Admission(LINE, in_flight=3, waiting=1)
    assert await free_places(admission) == 3


async def test_those_that_wait_enter_in_their_order() -> None:
    admission = Admission(LINE, in_flight=1, waiting=5)
    await admission.enter(None)
    order: list[int] = []

    async def call(number: int) -> None:
        await admission.enter(None)
        order.append(number)
        admission.leave()

    tasks = [asyncio.create_task(call(number)) for number in range(5)]
    await settle()
    assert order == []
    admission.leave()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_one_more_than_may_wait_is_refused_at_once() -> None:
    admission = Admission(LINE, in_flight=1, waiting=2)
    await admission.enter(None)
    waiting = [enter(admission) for _ in range(2)]
    await settle()
    with pytest.raises(Overloaded) as caught:
        await admission.enter(None)
    assert caught.value.metadata == {"line": LINE, "limit": "2"}
    assert caught.value.retry_after_s
    for _ in range(3):
        admission.leave()
    await asyncio.gather(*waiting)


async def test_a_higher_class_goes_first_and_takes_a_place_where_no_more_may_wait() -> None:
    admission = Admission(LINE, in_flight=1, waiting=2)
    await admission.enter(None)
    order: list[str] = []

    async def call(name: str) -> None:
        await admission.enter(None, Turn(RANKS[name], "a"))
        order.append(name)
        admission.leave()

    low, normal = (asyncio.create_task(call(name)) for name in ("low", "normal"))
    await settle()
    high = asyncio.create_task(call("high"))
    with pytest.raises(Overloaded, match="higher priority"):
        await low
    with pytest.raises(Overloaded):
        await admission.enter(None, Turn(RANKS["low"], "b"))
    admission.leave()
    await asyncio.gather(normal, high)
    assert order == ["high", "normal"]
    assert admission.refusals == {"displaced": 1, "full": 1}
    assert await free_places(admission) == 1


async def test_clients_take_turns() -> None:
    admission = Admission(LINE, in_flight=1, waiting=9)
    await admission.enter(None)
    order: list[str] = []

    async def call(client: str) -> None:
        await admission.enter(None, Turn(client=client))
        order.append(client)
        admission.leave()

    tasks = [asyncio.create_task(call(client)) for client in "aaaab"]
    await settle()
    admission.leave()
    await asyncio.gather(*tasks)
    assert "".join(order) == "abaaa"


async def test_it_says_how_full_it_is() -> None:
    admission = Admission(LINE, in_flight=2, waiting=1)
    assert (admission.in_flight, admission.max_waiting) == (2, 1)
    entered = [enter(admission) for _ in range(4)]
    await settle()
    assert (admission.active, admission.waiting, admission.refused) == (2, 1, 1)
    for _ in range(3):
        admission.leave()
    await asyncio.gather(*entered, return_exceptions=True)
    assert (admission.active, admission.waiting, admission.refused) == (0, 0, 1)


async def test_nobody_may_wait_where_the_queue_has_no_length() -> None:
    admission = Admission(LINE, in_flight=1, waiting=0)
    await admission.enter(None)
    with pytest.raises(Overloaded):
        await admission.enter(None)
    admission.leave()
    await admission.enter(None)


async def test_waiting_ends_at_the_deadline_and_gives_up_its_turn() -> None:
    admission = Admission(LINE, in_flight=1, waiting=1)
    await admission.enter(None)
    with pytest.raises(DeadlineExceeded) as caught:
        await admission.enter(0.001)
    assert caught.value.metadata == {"line": LINE}
    assert caught.value.__cause__ is None
    waiting = enter(admission)  # not refused: the queue is empty again
    await settle()
    admission.leave()
    await waiting


async def test_a_deadline_that_has_passed_still_takes_a_free_place() -> None:
    admission = Admission(LINE, in_flight=1, waiting=1)
    await admission.enter(-1)
    with pytest.raises(DeadlineExceeded):
        await admission.enter(-1)


async def test_a_call_that_is_cancelled_while_it_waits_gives_up_its_turn() -> None:
    admission = Admission(LINE, in_flight=1, waiting=1)
    await admission.enter(None)
    waiting = enter(admission)
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    admission.leave()
    assert await free_places(admission) == 1


@pytest.mark.parametrize("leave_first", [True, False])
async def test_a_place_that_comes_in_the_moment_of_giving_up_goes_to_the_next(
    leave_first: bool,
) -> None:
    admission = Admission(LINE, in_flight=1, waiting=2)
    await admission.enter(None)
    first, second = enter(admission), enter(admission)
    await settle()
    steps: list[Callable[[], object]] = [admission.leave, first.cancel]
    for step in steps if leave_first else reversed(steps):
        step()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, 5)
    admission.leave()
    assert await free_places(admission) == 1


async def test_no_place_is_lost_or_made_whatever_comes_of_the_calls() -> None:
    admission = Admission(LINE, in_flight=4, waiting=8)
    inside = most = 0

    async def call(number: int) -> None:
        nonlocal inside, most
        await admission.enter(0.0005 * (number % 3) if number % 4 else None)
        inside += 1
        most = max(most, inside)
        try:
            for _ in range(number % 5):
                await asyncio.sleep(0)
        finally:
            inside -= 1
            admission.leave()

    for wave in range(50):
        tasks = [asyncio.create_task(call(wave + number)) for number in range(12)]
        await asyncio.sleep(0)
        for task in tasks[wave % 3 :: 3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert inside == 0
    assert most == 4
    assert await free_places(admission) == 4


async def test_a_call_that_would_wait_past_its_deadline_is_refused_at_once() -> None:
    admission = Admission(LINE, in_flight=1, waiting=5)
    visit = await admission.enter(None)
    visit.since -= 2  # an answer takes two seconds
    admission.leave(visit, 1)
    await admission.enter(None)
    with pytest.raises(Overloaded, match="the deadline would pass"):
        await admission.enter(1)
    assert admission.refusals == {"deadline": 1}
    patient = enter(admission, 60)
    await settle()
    assert admission.waiting == 1
    admission.leave()
    await patient


async def test_an_adaptive_one_lets_fewer_through_when_more_only_wait_there() -> None:
    admission = Admission(LINE, in_flight=64, waiting=64, adaptive=True)
    alone = await admission.enter(None)
    alone.since -= 0.01
    admission.leave(alone, 1)
    for _ in range(4):
        visits = [await admission.enter(None) for _ in range(min(8, admission.in_flight))]
        for visit in visits:
            visit.since -= 0.08
            admission._adaptive._window_at -= 1  # type: ignore[union-attr]
            admission.leave(visit, 1)
    assert admission.in_flight < 8
    assert admission.active == 0


async def test_failures_say_nothing_of_how_long_answers_take() -> None:
    admission = Admission(LINE, in_flight=1, waiting=5, adaptive=True)
    await admission.enter(None)
    admission.leave()
    assert admission.in_flight == 1
    assert admission._usual_s == 0
