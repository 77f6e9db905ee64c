"""A worker process whose transport is grpc.aio: ``python -m gateway.grpc_worker``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from gateway.connecting import protection_of
from gateway.process_logging import log_to_stderr
from gateway.process_tuning import new_event_loop, settle_garbage
from gateway.security.errors import UnusableFile
from gateway.served import services_of
from gateway.starting import StartFailed
from gateway.supervising.racing import first
from gateway.supervising.signals import StopSignals
from gateway.transport.grpc_aio import AddressInUse, GrpcServer
from gateway.worker import Worker
from triton_models.heap import return_large_blocks


def main() -> int:
    """Serve until SIGTERM; return the exit code."""
    return_large_blocks()
    worker = Worker.from_environment(os.environ)
    log_to_stderr(f"worker {worker.number}")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # is for the supervisor; Envoy does the same
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(_serve(worker))
    except StartFailed:
        return 1  # the supervisor says why


async def _serve(worker: Worker) -> int:
    signals = StopSignals()
    signals.listen()
    settings = worker.settings
    async with worker.core() as core:
        try:
            server = GrpcServer(
                services_of(core, settings),
                settings.listen,
                protection=protection_of(settings),
                reuse_port=True,
            )
        except (AddressInUse, UnusableFile) as error:
            raise StartFailed(str(error)) from error
        await server.start()
        settle_garbage()
        worker.say_ready()
        await signals.asked.wait()
        # What is in flight finishes, until the grace is over or a second signal comes.
        await first(server.stop(settings.grace_s), signals.forced.wait())
        if signals.forced.is_set():
            await server.stop(0)
    return int(signals.forced.is_set())


if __name__ == "__main__":
    sys.exit(main())
