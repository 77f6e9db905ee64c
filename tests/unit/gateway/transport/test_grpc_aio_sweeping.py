from __future__ import annotations

import asyncio

import pytest
from hand_clock import Clock

from gateway.transport import grpc_aio_sweeping
from gateway.transport.grpc_aio_sweeping import PAUSE_S, MemorySweeper

MB = 1_000_000


class Memory:
    """Of a process: what is in use, what is free, and garbage; in bytes."""

    def __init__(self) -> None:
        self.used, self.free, self.garbage = 90 * MB, 0, 0
        self.sweeps = 0

    def resident(self) -> int:
        return self.used + self.free + self.garbage

    def collect(self) -> None:
        self.free, self.garbage = self.free + self.garbage, 0

    def trim(self) -> None:
        self.free = 0
        self.sweeps += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def memory() -> Memory:
    return Memory()


@pytest.fixture
def sweeper(memory: Memory, clock: Clock) -> MemorySweeper:
    return MemorySweeper(memory.resident, memory.collect, memory.trim, clock)


async def test_what_calls_left_is_given_back(memory: Memory, sweeper: MemorySweeper) -> None:
    memory.free, memory.garbage = 60 * MB, 30 * MB
    await sweeper.look()
    assert memory.resident() == 90 * MB


async def test_a_little_more_is_let_be(memory: Memory, sweeper: MemorySweeper) -> None:
    memory.free = 4 * MB
    await sweeper.look()
    assert memory.sweeps == 0


async def test_of_much_memory_a_few_percent_are_little(clock: Clock) -> None:
    memory = Memory()
    memory.used = 1000 * MB
    sweeper = MemorySweeper(memory.resident, memory.collect, memory.trim, clock)
    memory.free = 45 * MB
    await sweeper.look()
    assert memory.sweeps == 0
    memory.free = 55 * MB
    await sweeper.look()
    assert memory.sweeps == 1


async def test_there_is_a_pause_between_two_sweeps(
    memory: Memory, sweeper: MemorySweeper, clock: Clock
) -> None:
    for _ in range(2):
        memory.free = 20 * MB
        await sweeper.look()
    assert memory.sweeps == 1
    clock.now += PAUSE_S
    await sweeper.look()
    assert memory.sweeps == 2


async def test_what_is_in_use_is_swept_in_vain_once_only(
    memory: Memory, sweeper: MemorySweeper, clock: Clock
) -> None:
    memory.used += 50 * MB
    for _ in range(10):
        await sweeper.look()
        clock.now += PAUSE_S
    assert memory.sweeps == 1


async def test_what_shrinks_by_itself_is_what_growth_is_measured_by(
    memory: Memory, sweeper: MemorySweeper
) -> None:
    memory.used -= 30 * MB
    await sweeper.look()
    memory.free = 10 * MB
    await sweeper.look()
    assert memory.sweeps == 1


async def test_waste_that_is_known_of_is_swept_up_at_once_and_once(
    memory: Memory, sweeper: MemorySweeper
) -> None:
    for _ in range(2):
        for _ in range(100):
            sweeper.soon()
        await sweeper.look()
        await sweeper.look()
    assert memory.sweeps == 2


async def test_waste_of_calls_that_end_later_is_swept_up_a_while_after(
    memory: Memory, sweeper: MemorySweeper, clock: Clock
) -> None:
    sweeper.soon()
    await sweeper.look()
    memory.garbage = 4 * MB
    for sweeps in (1, 2, 2, 2):
        await sweeper.look()
        assert memory.sweeps == sweeps
        clock.now += PAUSE_S
    assert memory.resident() == 90 * MB


async def test_sweeps_that_take_long_are_rare(memory: Memory, clock: Clock) -> None:
    def collect_for_long() -> None:
        clock.now += 0.25

    sweeper = MemorySweeper(memory.resident, collect_for_long, memory.trim, clock)
    end = clock.now + 100
    while clock.now < end:
        sweeper.soon()
        await sweeper.look()
        clock.now += 0.25
    assert memory.sweeps == pytest.approx(100 / (11 * 0.25), abs=1)


async def test_it_looks_until_it_is_stopped(
    memory: Memory, sweeper: MemorySweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_aio_sweeping, "LOOK_S", 0.001)
    looked = asyncio.Semaphore(0)
    resident = memory.resident

    def look() -> int:
        looked.release()
        return resident()

    monkeypatch.setattr(sweeper, "_resident", look)
    sweeper.start()
    async with asyncio.timeout(20):
        for _ in range(3):
            await looked.acquire()
    await sweeper.stop()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
