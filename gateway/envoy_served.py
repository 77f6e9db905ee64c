"""What a worker serves inside Envoy."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.connecting import protection_of
from gateway.process_logging import log_to_stderr
from gateway.process_tuning import settle_garbage
from gateway.served import services_of
from gateway.transport.envoy_app import Served, build_app
from gateway.worker import Worker


@asynccontextmanager
async def _opening() -> AsyncIterator[Served]:
    worker = Worker.from_environment(os.environ)
    log_to_stderr(f"worker {worker.number}")
    settings = worker.settings
    async with worker.core() as core:

        def listening() -> None:
            settle_garbage()
            worker.say_ready()

        yield Served(
            services=services_of(core, settings),
            protection=protection_of(settings),
            port=int(settings.listen.rpartition(":")[2]),
            grace_s=settings.grace_s,
            on_listening=listening,
        )


app = build_app(_opening)
