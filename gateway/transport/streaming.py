"""Answers the elements of a stream at the same time, each as soon as it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any


async def answers_as_they_come(
    elements: AsyncIterator[Any],
    answer: Callable[[Any], Awaitable[Any]],
    max_outstanding: int,
) -> AsyncGenerator[Any]:
    """Give the answer to every element, in whatever order they are ready.

    Close it: what is outstanding then is cancelled.

    Args:
        elements: What comes; its error ends the answers.
        answer: Answers one element, and never fails.
        max_outstanding: Elements that are read and whose answers are not yet taken.
    """
    slots = asyncio.Semaphore(max_outstanding)
    answers: asyncio.Queue[Any] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()
    end = object()

    async def put(element: Any) -> None:
        await answers.put(await answer(element))

    async def read() -> None:
        try:
            while True:
                await slots.acquire()
                try:
                    element = await anext(elements)
                except StopAsyncIteration:
                    break
                task = asyncio.create_task(put(element))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
        finally:
            await answers.put(end)

    reader = asyncio.create_task(read())
    try:
        while (response := await answers.get()) is not end:
            yield response
            slots.release()
        await reader
    finally:
        for task in (reader, *tasks):
            task.cancel()
        await asyncio.gather(reader, *tasks, return_exceptions=True)
