"""Takes the records of calls where they end, and counts them elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from itertools import repeat

from gateway.telemetry.metrics.folding import fold
from gateway.telemetry.metrics.instruments import DROPPED_RECORDS
from gateway.telemetry.metrics.tally import Tally
from gateway.telemetry.record import CallRecord

_log = logging.getLogger(__name__)

MAX_PENDING = 65_536
"""Records that wait to be counted: several seconds of calls."""

_AT_A_TIME = 256
"""Records that are counted in one go, which holds the interpreter for about 0.7 ms."""

_NAP_S = 0.0005
"""After that, for the event loop. A nap of 0 would not do: the interpreter would be taken back
before whoever waits for it has woken."""


class Recorder:
    """Keeps the records of calls until they are counted.

    Args:
        max_pending: Records that are kept; one more is dropped, and counted as that.
    """

    def __init__(self, max_pending: int = MAX_PENDING) -> None:
        self._pending: deque[CallRecord] = deque()
        self._append = self._pending.append
        self._max_pending = max_pending
        self._dropped = self._broken = 0  # each is written by one thread only
        self._dropped_before = 0
        self._lock = threading.Lock()  # guards the tally
        self._tally = Tally()

    @property
    def pending(self) -> int:
        """Records that wait to be counted."""
        return len(self._pending)

    def sink(self, record: CallRecord) -> None:
        """Take the record of a call that has ended; nobody changes it from now on."""
        if len(self._pending) < self._max_pending:
            self._append(record)
        else:
            self._dropped += 1

    def fold(self) -> None:
        """Count what has come so far."""
        pending = self._pending
        left = len(pending)  # and not what comes meanwhile
        while left > 0:
            size = min(left, _AT_A_TIME)
            left -= size
            # One by one: records are appended by another thread.
            records = [pending.popleft() for _ in repeat(None, size)]
            try:
                with self._lock:
                    fold(records, self._tally)
            except Exception:  # a record that makes no sense ends no thread
                _log.exception("Calls could not be counted")
                self._broken += size
            if left:
                time.sleep(_NAP_S)

    def take(self) -> Tally:
        """Return what was counted since the last time."""
        dropped = self._dropped + self._broken
        with self._lock:
            tally, self._tally = self._tally, Tally()
        if dropped > self._dropped_before:
            tally.count(DROPPED_RECORDS, (), dropped - self._dropped_before)
            self._dropped_before = dropped
        return tally
