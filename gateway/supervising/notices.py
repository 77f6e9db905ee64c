"""What a worker tells its supervisor: that it is ready, why it is not, what it serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from gateway.supervising.datagrams import hearing_at, tell

_log = logging.getLogger(__name__)

_SOCKET = "notices"
_SEND_S = 1.0
"""For a supervisor that is busy."""
BEAT_S = 1.0
"""How often a worker says that its event loop turns, by saying again what it said last."""


@dataclass(frozen=True)
class ReleaseNotice:
    """A routed release, as one worker sees it."""

    line: str
    release: str
    weight: float
    serving: bool
    detail: str = ""
    """Why it does not serve."""


@dataclass(frozen=True)
class Notice:
    """What a worker says of itself."""

    worker: int
    releases: tuple[ReleaseNotice, ...] = ()
    ready: bool = False
    """Whether it takes calls."""
    failure: str = ""
    """Why it will never take any."""


_NOTICES = TypeAdapter(Notice)


class Notifier:
    """The end of a worker. Whatever happens to the supervisor, it raises nothing.

    Args:
        folder: Of the supervisor.
        worker: The worker's number.
    """

    def __init__(self, folder: Path, worker: int) -> None:
        self._address = str(folder / _SOCKET)
        self._last = Notice(worker)

    def show(self, releases: Sequence[ReleaseNotice]) -> None:
        """Tell what is served."""
        self._send(replace(self._last, releases=tuple(releases)))

    def ready(self) -> None:
        """Tell that calls are taken."""
        self._send(replace(self._last, ready=True))

    def fail(self, reason: str) -> None:
        """Tell why calls will not be taken."""
        self._send(replace(self._last, failure=reason))

    async def beat(self) -> None:
        """Tell for ever that the event loop turns; a supervisor that is busy is not waited for."""
        while True:
            await asyncio.sleep(BEAT_S)
            with suppress(OSError):
                self._deliver(self._last, wait_s=0)

    def _send(self, notice: Notice) -> None:
        self._last = notice
        try:
            self._deliver(notice, _SEND_S)
        except OSError as error:
            _log.warning("The supervisor could not be told: %s", error)

    def _deliver(self, notice: Notice, wait_s: float) -> None:
        tell(self._address, notice, _NOTICES, wait_s)


def hearing(folder: Path, hear: Callable[[Notice], None]) -> AbstractAsyncContextManager[None]:
    """Pass on what workers say, while the context lasts.

    Args:
        folder: Where workers find the socket; only its owner may enter it.
        hear: Is called with each notice, in this event loop.
    """
    return hearing_at(folder / _SOCKET, _NOTICES, hear)
