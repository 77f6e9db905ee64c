"""Waits for whichever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress


async def first(*awaitables: Awaitable[object]) -> None:
    """Return or raise as the first one that is done does; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task
    for task in done:
        task.result()
