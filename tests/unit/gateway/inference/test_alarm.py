from __future__ import annotations

import asyncio
import os

import pytest

from gateway.inference.alarm import Alarm

ALARM_S = 0.0002


@pytest.fixture(params=[True, False], ids=["kernel", "loop"])
def exact(request: pytest.FixtureRequest) -> bool:
    """The kernel's timer, or what stands in for it where there is none."""
    chosen: bool = request.param
    return chosen


class Rung:
    """Counts, and can be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()

    async def wait(self) -> None:
        async with asyncio.timeout(20):
            await self._event.wait()
        self._event.clear()


async def test_it_rings_once_for_each_time_that_it_is_set(exact: bool) -> None:
    rung = Rung()
    one = Alarm(rung, exact=exact)
    for count in (1, 2):
        one.set(ALARM_S)
        assert one.is_set
        await rung.wait()
        assert rung.count == count
        assert not one.is_set
    one.close()


async def test_setting_it_again_moves_it(exact: bool) -> None:
    rung = Rung()
    one = Alarm(rung, exact=exact)
    one.set(1000)
    one.set(ALARM_S)
    await rung.wait()
    one.set(ALARM_S)
    one.set(1000)
    await asyncio.sleep(0.01)
    assert rung.count == 1
    one.close()


async def test_it_does_not_ring_after_it_was_closed(exact: bool) -> None:
    rung = Rung()
    one = Alarm(rung, exact=exact)
    one.set(ALARM_S)
    one.close()
    await asyncio.sleep(0.01)
    assert rung.count == 0


async def test_it_leaves_no_file_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        one = Alarm(lambda: None)
        one.set(1)
        one.close()
    assert len(os.listdir("/proc/self/fd")) == before
