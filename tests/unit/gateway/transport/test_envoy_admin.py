from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.transport.envoy_admin import EnvoyAdmin


class PlayedEnvoy:
    """Answers as an Envoy's administration does."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.active = [0]
        self.status = "200 OK"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.decode().split(" HTTP/")[0])
        body = b"OK\n"
        if b"/stats" in head:
            active = self.active.pop(0) if len(self.active) > 1 else self.active[0]
            body = b"http.trident.downstream_rq_active: %d\n" % active
        length = f"HTTP/1.1 {self.status}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(length.encode() + body)
        await writer.drain()
        writer.close()


@pytest.fixture
async def envoy(tmp_path: Path) -> AsyncIterator[PlayedEnvoy]:
    """An Envoy that takes orders."""
    played = PlayedEnvoy()
    async with await asyncio.start_unix_server(played.answer, tmp_path / "admin"):
        yield played


@pytest.fixture
async def admin(envoy: PlayedEnvoy, tmp_path: Path) -> EnvoyAdmin:
    """Gives the orders."""
    return EnvoyAdmin(tmp_path / "admin")


async def test_draining_goes_on_taking_connections(envoy: PlayedEnvoy, admin: EnvoyAdmin) -> None:
    await admin.drain()
    assert envoy.asked == ["POST /drain_listeners?graceful&skip_exit"]


async def test_answers_are_awaited_until_all_are_sent(
    envoy: PlayedEnvoy, admin: EnvoyAdmin
) -> None:
    envoy.active = [3, 1, 0]
    await admin.wait_sent(20)
    assert len(envoy.asked) == 3


async def test_answers_are_not_awaited_for_ever(envoy: PlayedEnvoy, admin: EnvoyAdmin) -> None:
    envoy.active = [1]
    await asyncio.wait_for(admin.wait_sent(0.05), 20)
    assert envoy.asked


async def test_an_order_that_is_refused_is_an_error(envoy: PlayedEnvoy, admin: EnvoyAdmin) -> None:
    envoy.status = "503 Service Unavailable"
    with pytest.raises(OSError, match="Envoy refused POST /drain_listeners"):
        await admin.drain()


async def test_an_envoy_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await EnvoyAdmin(tmp_path / "nothing").active()
