from __future__ import annotations

import asyncio

import pytest

from gateway.supervising.racing import first


class Waiting:
    """Waits for ever, and knows when it was cancelled."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.cancelled = False

    async def __call__(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_the_first_that_is_done_decides_and_the_others_are_cancelled() -> None:
    slow = Waiting()
    await asyncio.wait_for(first(slow(), slow.began.wait()), 20)
    assert slow.cancelled


async def test_the_first_that_fails_is_raised() -> None:
    async def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await first(fail(), asyncio.Event().wait())


async def test_a_loser_that_fails_when_it_is_cancelled_hides_nothing() -> None:
    began = asyncio.Event()

    async def bad_loser() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("hm")

    await asyncio.wait_for(first(bad_loser(), began.wait()), 20)


async def test_whoever_waits_can_be_cancelled_and_so_are_all() -> None:
    one, other = Waiting(), Waiting()
    racing = asyncio.create_task(first(one(), other()))
    await asyncio.wait_for(other.began.wait(), 20)
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert one.cancelled
    assert other.cancelled
