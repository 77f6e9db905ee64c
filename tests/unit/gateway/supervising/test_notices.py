from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import pytest

from gateway.supervising.notices import Notice, Notifier, ReleaseNotice, hearing

RELEASES = (
    ReleaseNotice("score-risk", "r1", 0.5, True),
    ReleaseNotice("recommend", "ü", 1.0, False, "it is being loaded"),
)


class Heard:
    """Keeps notices, and waits for them."""

    def __init__(self) -> None:
        self.notices: asyncio.Queue[Notice] = asyncio.Queue()

    async def next(self) -> Notice:
        return await asyncio.wait_for(self.notices.get(), 20)


async def test_what_a_worker_says_is_heard_in_its_order(tmp_path: Path) -> None:
    heard = Heard()
    async with hearing(tmp_path, heard.notices.put_nowait):
        notifier = Notifier(tmp_path, 3)
        notifier.show(RELEASES)
        notifier.ready()
        notifier.show(RELEASES[:1])
        assert await heard.next() == Notice(3, RELEASES)
        assert await heard.next() == Notice(3, RELEASES, ready=True)
        assert await heard.next() == Notice(3, RELEASES[:1], ready=True)


async def test_why_a_worker_cannot_start_is_heard(tmp_path: Path) -> None:
    heard = Heard()
    async with hearing(tmp_path, heard.notices.put_nowait):
        Notifier(tmp_path, 0).fail("no store")
        assert (await heard.next()).failure == "no store"


async def test_a_worker_says_again_and_again_what_it_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.supervising.notices.BEAT_S", 0.001)
    heard = Heard()
    notifier = Notifier(tmp_path, 3)
    beating = asyncio.create_task(notifier.beat())
    async with hearing(tmp_path, heard.notices.put_nowait):
        assert await heard.next() == Notice(3)
        notifier.show(RELEASES)
        while await heard.next() != Notice(3, RELEASES):
            pass
        assert await heard.next() == Notice(3, RELEASES)
    (tmp_path / "notices").unlink()
    for _ in range(3):  # meanwhile nobody hears
        await asyncio.sleep(0.001)
    async with hearing(tmp_path, heard.notices.put_nowait):
        assert await heard.next() == Notice(3, RELEASES)
    beating.cancel()


async def test_what_is_no_notice_is_logged_and_the_next_is_heard(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    async with hearing(tmp_path, heard.notices.put_nowait):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            for nonsense in (b"\xff", b"[]", b"{}", b'{"worker": 1, "releases": [{}]}', b"7"):
                other.sendto(nonsense, str(tmp_path / "notices"))
        Notifier(tmp_path, 1).ready()
        assert (await heard.next()).ready
    assert caplog.text.count("could not be understood") == 5


async def test_several_hundred_releases_fit(tmp_path: Path) -> None:
    heard = Heard()
    many = tuple(ReleaseNotice("score-risk", f"r{n}", 1.0, False, "x" * 100) for n in range(500))
    async with hearing(tmp_path, heard.notices.put_nowait):
        Notifier(tmp_path, 1).show(many)
        assert (await heard.next()).releases == many


def test_a_supervisor_that_is_gone_is_logged_and_nothing_is_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Notifier(tmp_path, 1).ready()
    assert "could not be told" in caplog.text
