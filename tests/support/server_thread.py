"""A server in a thread of its own, for clients that are not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fake_runner import FakeRunner, RecordingTracing

from gateway.transport.grpc_aio import build_server


@contextmanager
def served(runner: FakeRunner, tracing: Any = None, **options: Any) -> Iterator[str]:
    """Serve while the context lasts; gives the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Any:
        server = build_server(
            runner=runner, tracing=tracing or RecordingTracing(), listen="127.0.0.1:0", **options
        )  # fmt: skip
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(1), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
