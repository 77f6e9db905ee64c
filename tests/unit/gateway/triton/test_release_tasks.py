from __future__ import annotations

import asyncio

import pytest

from gateway.triton.release_tasks import ReleaseTasks

KEY, OTHER = ("score-risk", "r1"), ("recommend", "r1")


class Work:
    """Goes on until it may end, or is cancelled."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.outcome = ""

    async def do(self) -> None:
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise
        self.outcome = "done"


@pytest.fixture
async def tasks() -> ReleaseTasks:
    return ReleaseTasks()


async def test_a_task_is_known_until_it_has_ended(tasks: ReleaseTasks) -> None:
    work = Work()
    tasks.begin(KEY, work.do())
    assert KEY in tasks
    assert OTHER not in tasks
    work.may_end.set()
    await tasks.ended()
    await asyncio.sleep(0)
    assert work.outcome == "done"
    assert KEY not in tasks


async def test_the_task_of_one_release_is_ended_and_others_go_on(tasks: ReleaseTasks) -> None:
    one, other = Work(), Work()
    tasks.begin(KEY, one.do())
    tasks.begin(OTHER, other.do())
    await asyncio.sleep(0)
    await tasks.end(KEY)
    assert one.outcome == "cancelled"
    assert OTHER in tasks
    await tasks.end(KEY)  # there is none
    other.may_end.set()
    await tasks.ended()
    assert other.outcome == "done"


async def test_all_are_cancelled_and_waited_for(tasks: ReleaseTasks) -> None:
    works = [Work(), Work()]
    for key, work in zip((KEY, OTHER), works, strict=True):
        tasks.begin(key, work.do())
    await asyncio.sleep(0)
    tasks.cancel()
    await tasks.ended()
    assert [work.outcome for work in works] == ["cancelled", "cancelled"]


async def test_one_that_is_cancelled_before_it_began_does_not_end_its_successor(
    tasks: ReleaseTasks,
) -> None:
    work = Work()
    tasks.begin(KEY, Work().do())
    ending = asyncio.create_task(tasks.end(KEY))
    await asyncio.sleep(0)
    tasks.begin(KEY, work.do())
    await ending
    assert KEY in tasks
    work.may_end.set()
    await tasks.ended()
    assert work.outcome == "done"
