"""One worker process, whatever transport it runs: what it was given, and what it tells.

The supervisor gives a worker everything in its environment. A transport does no more than::

    worker = Worker.from_environment(os.environ)
    async with worker.core() as core:
        …  # take calls at worker.settings.listen, with SO_REUSEPORT
        worker.say_ready()
        …  # until SIGTERM; then finish what is in flight, within worker.settings.grace_s
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.settings import Settings
from gateway.starting import StartFailed
from gateway.supervising.failures import teller
from gateway.supervising.notices import Notifier, ReleaseNotice
from gateway.telemetry.metrics.wanted import build_metrics

if TYPE_CHECKING:  # grpc and Triton's client are for workers only, not for their supervisor
    from gateway.core import Core
    from gateway.triton.states import ReleaseState

_SETTINGS = "TRIDENT_WORKER_SETTINGS"
_NUMBER = "TRIDENT_WORKER_NUMBER"
_INSTANCE = "TRIDENT_WORKER_INSTANCE"
_FOLDER = "TRIDENT_WORKER_FOLDER"


@dataclass(frozen=True)
class Worker:
    """A worker, as its supervisor made it."""

    settings: Settings
    """``listen`` has the real port, ``triton`` also names the embedded one."""
    number: int
    """From 0; a worker that takes the place of one that died has the same."""
    instance_id: str
    """``service.instance.id`` of its spans."""
    folder: Path
    """Where it finds its supervisor."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Worker:
        """Return the worker that this process is to be.

        Raises:
            KeyError: If no supervisor started it.
        """
        return cls(
            settings=Settings.model_validate_json(environment[_SETTINGS]),
            number=int(environment[_NUMBER]),
            instance_id=environment[_INSTANCE],
            folder=Path(environment[_FOLDER]),
        )

    def environment(self) -> dict[str, str]:
        """Return the variables that make a process this worker."""
        return {
            _SETTINGS: self.settings.model_dump_json(),
            _NUMBER: str(self.number),
            _INSTANCE: self.instance_id,
            _FOLDER: str(self.folder),
        }

    @asynccontextmanager
    async def core(self) -> AsyncIterator[Core]:
        """Give what answers calls; see :func:`gateway.core.running_core`.

        Raises:
            StartFailed: If that is impossible. The supervisor is told of any such error, also of
                one that is raised while the core runs.
        """
        from gateway.core import running_core
        from gateway.live_settings import followed
        from gateway.security.watching import Watch

        metrics = build_metrics(self.settings.metrics_listen, self.number)
        try:
            if metrics is not None:
                metrics.start(self.folder)
            async with running_core(
                self.settings,
                instance_id=self.instance_id,
                on_change=self._show,
                metrics=metrics,
                tell_failed=teller(self.folder),
            ) as core:
                watch = Watch((followed(self.folder, core.live),))
                watch.start()
                beating = asyncio.create_task(self._notifier.beat())
                try:
                    yield core
                finally:
                    beating.cancel()
                    watch.stop()
        except StartFailed as error:  # also one of the transport's
            self.say_failed(str(error))
            raise
        finally:
            if metrics is not None:  # all calls have ended
                await asyncio.to_thread(metrics.stop)

    def say_ready(self) -> None:
        """Tell the supervisor that calls are taken."""
        self._notifier.ready()

    def say_failed(self, reason: str) -> None:
        """Tell the supervisor why calls will never be taken."""
        self._notifier.fail(reason)

    def _show(self, states: Sequence[ReleaseState]) -> None:
        self._notifier.show(
            [
                ReleaseNotice(one.line, one.release, one.weight, bool(one.clients), one.detail)
                for one in states
            ]
        )

    @cached_property
    def _notifier(self) -> Notifier:
        return Notifier(self.folder, self.number)
