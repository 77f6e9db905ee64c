"""Says in the log why calls were refused, however many there are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_A_SECOND = 10
"""Lines; further refusals are only counted, so that nobody can fill a disk with them."""


class RefusalLog:
    """Logs refusals.

    Args:
        log: Where to.
        clock: Seconds, of a clock that only goes forward.

    Attributes:
        refused_calls: How many there were.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self.refused_calls = 0
        self._log = log
        self._clock = clock
        self._since = clock()
        self._lines = 0
        self._unsaid = 0

    def refused(self, method: str, peer: str, why: str) -> None:
        """Take note of a refusal; ``why`` holds no secret."""
        self.refused_calls += 1
        now = self._clock()
        if now - self._since >= 1:
            self._since, self._lines = now, 0
            unsaid, self._unsaid = self._unsaid, 0
            if unsaid:
                self._log.warning("Refused %d more calls in the meantime", unsaid)
        if self._lines >= _A_SECOND:
            self._unsaid += 1
            return
        self._lines += 1
        self._log.warning("Refused %s from %s: %s", method, peer, why)
