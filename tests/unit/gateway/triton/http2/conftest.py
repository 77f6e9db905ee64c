"""Channels that are closed after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from h2_server import Server

from gateway.triton.http2.channel import Channel


@pytest.fixture
async def open_channel() -> AsyncIterator[Callable[..., Channel]]:
    """Makes a channel to a server, or to an address."""
    channels = []

    def make(server: Server | str, **how: Any) -> Channel:
        channels.append(Channel(server if isinstance(server, str) else server.target, **how))
        return channels[-1]

    yield make
    for channel in channels:
        await channel.close()
