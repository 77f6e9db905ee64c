"""What the workers say, put together for people and for the supervisor."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from gateway.announcing import Announcer
from gateway.starting import StartFailed
from gateway.supervising.notices import Notice, ReleaseNotice

_log = logging.getLogger(__name__)

_LAST_WORDS_S = 0.1
"""For a notice that a worker sent just before it ended."""

_SILENT_S = 10.0
"""A worker that takes calls and has said nothing for so long hangs: it does each second."""


class WorkerNews:
    """Takes the notices of all workers.

    Args:
        announcer: Tells people what is served: by every worker.
        store: Where the releases lie, for people.
        clock: Tells the time, in seconds.

    Attributes:
        started: Done when a worker takes calls; ``StartFailed`` if none ever will.
    """

    def __init__(
        self, announcer: Announcer, store: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._announcer = announcer
        self._store = store
        self._notices: dict[int, Notice] = {}
        self._clock = clock
        self._heard: dict[int, float] = {}
        self._ended: set[int] = set()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def takes_calls(self) -> bool:
        """Whether any worker does."""
        return any(notice.ready for notice in tuple(self._notices.values()))

    def silent(self) -> dict[int, float]:
        """Return the workers that take calls and hang, and for how many seconds."""
        now = self._clock()
        silences = {
            number: now - self._heard[number]
            for number, notice in tuple(self._notices.items())
            if notice.ready
        }
        return {number: time_s for number, time_s in silences.items() if time_s > _SILENT_S}

    def releases(self) -> list[ReleaseNotice]:
        """Return each routed release as the gateway serves it."""
        return merged(tuple(self._notices.values()))

    def hear(self, notice: Notice) -> None:
        """Take a notice."""
        number = notice.worker
        if notice.failure:
            if self.started.done():
                _log.error("Worker %d: %s", number, notice.failure)
            else:
                self.started.set_exception(StartFailed(notice.failure))
            return
        self._heard[number] = self._clock()
        known = self._notices.get(number)
        if notice == known:
            return
        self._notices[number] = notice
        self._announcer.show(merged(self._notices.values()))
        if not notice.ready or (known is not None and known.ready):
            return
        if number in self._ended:
            self._announcer.tell(f"worker {number} takes calls again")
        if not self.started.done():
            self.started.set_result(None)
            if not notice.releases:
                self._announcer.empty(self._store)

    def end(self, number: int, how: str) -> None:
        """Take the end of a worker that nobody asked for."""
        self._ended.add(number)
        self._notices.pop(number, None)
        if not self.started.done():
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._give_up, number, how)

    def _give_up(self, number: int, how: str) -> None:
        """A worker that does not even start will not do so the next time."""
        if not self.started.done():
            reason = f"worker {number} {how} before it took calls; what it logged says why"
            self.started.set_exception(StartFailed(reason))


def merged(notices: Iterable[Notice]) -> list[ReleaseNotice]:
    """Return each release as the gateway serves it: it does where all workers do."""
    releases: dict[tuple[str, str], ReleaseNotice] = {}
    for notice in notices:
        for one in notice.releases:
            known = releases.setdefault((one.line, one.release), one)
            if known.serving and not one.serving:
                releases[one.line, one.release] = replace(one, weight=known.weight)
    return list(releases.values())
