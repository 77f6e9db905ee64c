"""Keeps worker processes running: one that dies is started again, the others serve on."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from triton_models.following import FollowingProcess

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_STABLE_S = 10.0
"""After running this long, a death is a new misfortune and the pause is short again."""

_HURRY_S = 5.0
"""For workers that were told twice."""

_CANNOT_START = 127  # as a shell says it


class Workers:
    """A number of processes, each kept running until all are stopped.

    Args:
        count: How many there are.
        launch: Starts the one with a number, from 0.
        on_end: Is told when one has ended unasked: its number, and how.
        first_pause_s: Time until one that died is started again; doubled with each death.

    Attributes:
        restarts: How often each was started again, by its number.
    """

    def __init__(
        self,
        count: int,
        launch: Callable[[int], FollowingProcess],
        on_end: Callable[[int, str], None] = lambda number, how: None,
        *,
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self.restarts: Counter[int] = Counter()
        self._count = count
        self._launch = launch
        self._on_end = on_end
        self._first_pause_s = first_pause_s
        self._stopping = asyncio.Event()
        self._processes: dict[int, FollowingProcess] = {}
        self._exit_codes: dict[int, int] = {}
        self._keepers: list[asyncio.Task[None]] = []
        # Waiting for a process takes a thread; those of the event loop have other work.
        self._waiters = ThreadPoolExecutor(count, "worker-end")

    def start(self) -> None:
        """Start all; returns at once."""
        self._keepers = [asyncio.create_task(self._keep(n)) for n in range(self._count)]

    async def stop(self, grace_s: float, forced: asyncio.Event) -> bool:
        """Ask all to end; those that have not after ``grace_s`` are killed.

        Args:
            grace_s: Time that they have.
            forced: Once set, they are asked again, and have a few seconds only.

        Returns:
            Whether all ended by themselves, with 0.
        """
        self._stopping.set()
        self._send(FollowingProcess.terminate)
        await self._ended(grace_s, forced)
        if forced.is_set():
            self._send(FollowingProcess.terminate)
            await self._ended(_HURRY_S)
        if self._processes:
            _log.warning("Workers %s did not end and are killed", sorted(self._processes))
            self._send(FollowingProcess.kill)
        await asyncio.gather(*self._keepers)
        self._waiters.shutdown()
        # A worker that was told before it listened to signals had nothing in flight.
        return set(self._exit_codes.values()) <= {0, -signal.SIGTERM}

    async def _ended(self, timeout_s: float, forced: asyncio.Event | None = None) -> None:
        """Return when no process is left, or none is waited for any more."""
        if self._keepers:
            waits: list[asyncio.Future[object]] = [
                asyncio.ensure_future(asyncio.wait(self._keepers))
            ]
            if forced is not None:
                waits.append(asyncio.ensure_future(forced.wait()))
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def _keep(self, number: int) -> None:
        """Run a worker, wait for its end, start it again: until all are stopped."""
        pause_s = self._first_pause_s
        while not self._stopping.is_set():
            start_s = time.monotonic()
            exit_code = await self._run(number)
            if self._stopping.is_set():
                return
            if time.monotonic() - start_s > _STABLE_S:
                pause_s = self._first_pause_s
            self.restarts[number] += 1
            how = _how(exit_code)
            _log.warning(
                "Worker %d %s; restart %d in %.1f s", number, how, self.restarts[number], pause_s
            )
            self._on_end(number, how)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _run(self, number: int) -> int:
        """Return the exit code of one run."""
        self._exit_codes.pop(number, None)
        try:
            # On this thread, which lives as long as the process does (see FollowingProcess).
            process = self._launch(number)
        except OSError as error:
            _log.error("Worker %d cannot be started: %s", number, error)
            return _CANNOT_START
        self._processes[number] = process
        waiting = asyncio.get_running_loop().run_in_executor(self._waiters, process.wait)
        exit_code = await waiting
        del self._processes[number]
        self._exit_codes[number] = exit_code
        return exit_code

    def _send(self, send: Callable[[FollowingProcess], None]) -> None:
        for process in self._processes.values():
            send(process)


def _how(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"
