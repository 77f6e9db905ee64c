from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import IO

import pytest
from served import restarts

from gateway.supervising.workers import Workers
from triton_models.following import FollowingProcess

READY = "echo ready; while :; do sleep 0.01; done"
QUIET = f"trap 'exit 0' TERM; {READY}"
"""Ends when it is asked to."""
STUBBORN = f"trap '' TERM; {READY}"
"""Never ends by itself."""
BUSY = f"trap 'trap \"exit 1\" TERM; echo asked' TERM; {READY}"
"""Ends when it is asked twice."""


class Fleet:
    """Workers that are shell scripts, and what is known of them."""

    def __init__(self, count: int, script: str) -> None:
        self.script = script
        self.started: list[int] = []
        self.ended: list[tuple[int, str]] = []
        self.processes: dict[int, FollowingProcess] = {}
        self.forced = asyncio.Event()
        self.unable = False
        self._said: dict[int, IO[bytes]] = {}
        self._news = asyncio.Event()
        self.workers = Workers(count, self._launch, self._end, first_pause_s=0.01)
        self.workers.start()

    async def says(self, number: int, word: str) -> None:
        """Wait for what a worker prints next."""
        await self.until(lambda: number in self.processes)
        line = await asyncio.wait_for(asyncio.to_thread(self._said[number].readline), 20)
        assert line.decode() == f"{word}\n"

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not reached():
                self._news.clear()
                await self._news.wait()

    async def stop(self, grace_s: float = 20) -> bool:
        try:
            async with asyncio.timeout(30):
                return await self.workers.stop(grace_s, self.forced)
        finally:
            for reader in self._said.values():
                reader.close()

    def kill(self, number: int) -> None:
        os.kill(self.processes.pop(number).pid, signal.SIGKILL)

    def _launch(self, number: int) -> FollowingProcess:
        self.started.append(number)
        self._news.set()
        if self.unable:
            raise OSError("no more processes")
        reader, writer = os.pipe()
        if number in self._said:
            self._said[number].close()
        self._said[number] = os.fdopen(reader, "rb")
        with os.fdopen(writer, "wb") as output:
            process = FollowingProcess(["/bin/sh", "-c", self.script], os.environ, output)
        self.processes[number] = process
        return process

    def _end(self, number: int, how: str) -> None:
        self.ended.append((number, how))
        self._news.set()


async def test_all_are_started_with_their_numbers_and_end_as_asked() -> None:
    fleet = Fleet(3, QUIET)
    for number in range(3):
        await fleet.says(number, "ready")
    assert fleet.started == [0, 1, 2]
    assert await fleet.stop()
    assert fleet.ended == []
    assert not fleet.workers.restarts


async def test_one_that_is_killed_is_started_again_and_the_others_are_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fleet = Fleet(2, QUIET)
    await fleet.says(0, "ready")
    await fleet.says(1, "ready")
    other = fleet.processes[0]
    fleet.kill(1)
    await fleet.says(1, "ready")
    assert fleet.ended == [(1, "was ended by SIGKILL")]
    assert fleet.started == [0, 1, 1]
    assert fleet.processes[0] is other
    assert fleet.workers.restarts == {1: 1}
    assert restarts(caplog.messages) == ["Worker 1 was ended by SIGKILL; restart 1 in 0.0 s"]
    assert await fleet.stop()


async def test_one_that_dies_again_and_again_is_started_after_growing_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fleet = Fleet(1, "exit 4")
    await fleet.until(lambda: len(fleet.ended) == 5)
    assert await fleet.stop() is False, "it ended with 4"
    assert set(fleet.ended) == {(0, "ended with exit code 4")}
    pauses = [record.args[3] for record in caplog.records if isinstance(record.args, tuple)]
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.16]


async def test_where_no_process_can_be_had_it_is_tried_again() -> None:
    fleet = Fleet(1, QUIET)
    fleet.unable = True
    await fleet.until(lambda: len(fleet.ended) == 2)
    assert fleet.ended[0] == (0, "ended with exit code 127")
    fleet.unable = False
    await fleet.says(0, "ready")
    assert await fleet.stop()


async def test_nothing_is_started_once_they_are_told_to_stop() -> None:
    fleet = Fleet(1, QUIET)
    fleet.workers._first_pause_s = 60
    await fleet.says(0, "ready")
    fleet.kill(0)
    await fleet.until(lambda: len(fleet.ended) == 1)
    await fleet.stop()
    assert fleet.started == [0]


async def test_one_that_does_not_end_in_time_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    fleet = Fleet(2, STUBBORN)
    await fleet.says(0, "ready")
    await fleet.says(1, "ready")
    assert not await fleet.stop(grace_s=0.05)
    assert "Workers [0, 1] did not end and are killed" in caplog.text


async def test_a_second_signal_reaches_the_workers_too() -> None:
    fleet = Fleet(1, BUSY)
    await fleet.says(0, "ready")
    stopping = asyncio.create_task(fleet.stop(grace_s=20))
    await fleet.says(0, "asked")
    assert not stopping.done()
    fleet.forced.set()
    assert await stopping is False


async def test_one_that_is_stopped_before_it_listens_to_signals_ended_as_asked() -> None:
    fleet = Fleet(1, READY)
    await fleet.says(0, "ready")
    assert await fleet.stop()


async def test_what_never_started_can_be_stopped() -> None:
    workers = Workers(1, lambda number: FollowingProcess(["/bin/true"], {}))
    assert await workers.stop(20, asyncio.Event())
