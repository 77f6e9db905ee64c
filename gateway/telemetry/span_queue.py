"""Between the calls and an exporter: bounded, and never waited for.

Calls are put in as they end, on the event loop, which makes the spans of most a little later. A
thread makes those of the others, and sends all. When it does not keep up, or the collector is
away, what does not fit is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.telemetry.call_spans import CallSpans
from gateway.telemetry.ended_calls import Encoded, EndedCalls
from gateway.telemetry.exporter import Exporter, SendFailed
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.span import Source, Span
from gateway.telemetry.span_encoding import by_source

_log = logging.getLogger(__name__)

Item = RecordedCall | Sequence[Span]

_TURN = 32
"""Items that the thread encodes in one go, which holds the interpreter for about 0.2 ms."""

_NAP_S = 50e-6
"""After that, for the event loop. A nap of 0 would not do: the interpreter would be taken back
before whoever waits for it has woken, which then waits for 0.1 ms or more."""

_HAND_OVER_S = 0.1
"""At the end, for what the event loop is encoding just then."""


@dataclass(frozen=True)
class Limits:
    """OpenTelemetry's settings of a batching exporter."""

    queue_spans: int = 65_536
    """``OTEL_BSP_MAX_QUEUE_SIZE``."""
    batch_spans: int = 1024
    """``OTEL_BSP_MAX_EXPORT_BATCH_SIZE``."""
    delay_s: float = 0.5
    """``OTEL_BSP_SCHEDULE_DELAY``, there in ms."""

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Limits:
        """Return what the standard variables say; what is none above 0 counts as not set."""
        return cls(
            _number(environment, "OTEL_BSP_MAX_QUEUE_SIZE", cls.queue_spans),
            _number(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", cls.batch_spans),
            _number(environment, "OTEL_BSP_SCHEDULE_DELAY", int(1000 * cls.delay_s)) / 1000,
        )


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    try:
        number = int(text or default)
    except ValueError:
        number = 0
    if number <= 0:
        _log.warning("%s must be a whole number above 0, got %r: %d counts", name, text, default)
        return default
    return number


def _size(item: Item | Encoded) -> int:
    """Return about how many spans it is: of a call, one a stage, and two more."""
    if isinstance(item, RecordedCall):
        return item.size + 2
    return item.size if isinstance(item, Encoded) else len(item)


class SpanQueue:
    """Takes what has ended to an exporter.

    Args:
        exporter: Where to.
        source: Of the spans of calls.
        limits: How much is held, and for how long.

    Attributes:
        sent: Spans that were sent.
    """

    def __init__(self, exporter: Exporter, source: Source, limits: Limits | None = None) -> None:
        self.sent = 0
        self._exporter = exporter
        self._source = source
        self._limits = limits or Limits()
        # Worth sending: what the exporter takes, or enough of a queue that is too small for it.
        worth = self._limits.batch_spans * exporter.at_once
        self._enough = min(worth, max(1, self._limits.queue_spans // 4))
        self._calls = CallSpans(exporter.encoder)
        self._items: deque[Item | Encoded] = deque()
        most_spans = self._limits.batch_spans
        self._ended = EndedCalls(exporter.encoder, most_spans, _size, self._hold)
        # Each is written by one thread only, so that none needs a lock.
        self._came = self._overflowed = 0
        self._taken = self._lost = 0
        self._wake = threading.Event()
        self._closing = self._given_up = False
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Spans that did not fit, or could not be sent.

        Of calls that did not fit, no spans were made: each of their stages counts, and two more.
        """
        return self._overflowed + self._lost

    def put(self, item: Item) -> None:
        """Take a call that has ended, or finished spans; never waits, never raises."""
        size = _size(item)
        held = self._came - self._taken
        if self._closing or held + size > self._limits.queue_spans:
            self._warn("it has been closed" if self._closing else "the queue is full")
            self._overflowed += size
            return
        if self._thread is None and not self._start():
            self._overflowed += size
            return
        self._came += size
        if not isinstance(item, RecordedCall) or not self._ended.take(item):
            self._hold(item)

    def stop_taking(self) -> None:
        """Send what is left, take no more; wait for nothing."""
        self._closing = True
        self._wake.set()

    def close(self, timeout_s: float) -> bool:
        """Send what is left, ``timeout_s`` at most; return whether all was tried."""
        self.stop_taking()
        if self._thread is not None:
            self._thread.join(timeout_s)
        done = self._thread is None or not self._thread.is_alive()
        if not done:
            self._given_up = True
            _log.warning(
                "The last spans, some %s, could not be sent within %.3g s",
                f"{self._came - self._taken:,}",
                timeout_s,
            )
        self._exporter.close()
        return done

    def _hold(self, item: Item | Encoded) -> None:
        self._items.append(item)
        if self._came - self._taken >= self._enough and not self._wake.is_set():
            self._wake.set()

    def _start(self) -> bool:
        thread = threading.Thread(target=self._work, name="spans", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads are to be had
            self._warn(str(error))
            return False
        self._thread = thread
        return True

    def _work(self) -> None:
        while True:
            woken = self._wake.wait(self._limits.delay_s)
            self._wake.clear()
            closing = self._closing  # looked at first: what came before it is still sent
            if closing or not woken:
                self._items.extend(self._ended.left_lying())
            # Whoever wakes it has put enough in. What came meanwhile waits for company: sent at
            # once, each request would be smaller than the one before.
            least = self._enough if woken and not closing else 1
            while self._items and not self._given_up and self._came - self._taken >= least:
                self._send_some()
            if closing:
                self._send_the_last()
                return

    def _send_the_last(self) -> None:
        """Wait a little for what the event loop still has in hands; what is left is lost."""
        end = time.monotonic() + _HAND_OVER_S
        while self._came > self._taken and not self._given_up and time.monotonic() < end:
            if self._items:
                self._send_some()
            else:
                time.sleep(0.001)
        self._lost += self._came - self._taken

    def _send_some(self) -> None:
        """Encode and send about as much as the exporter takes."""
        requests: list[bytes] = []
        count = 0
        for _ in range(self._exporter.at_once):
            groups: dict[Source, list[bytes]] = {}
            some = self._fill(groups)
            if not some:
                break
            requests.append(self._exporter.encoder.request(groups.items()))
            count += some
        if not count:
            return
        try:
            self._exporter.send(*requests)
        except SendFailed as error:
            lost = count if error.rejected is None else min(count, error.rejected)
            self._warn(str(error))
            self._lost += lost
            self.sent += count - lost
        except Exception:
            _log.exception("Spans could not be sent")
            self._lost += count
        else:
            self.sent += count

    def _fill(self, groups: dict[Source, list[bytes]]) -> int:
        """Take about one batch, as encoded spans; return how many they are."""
        encoded = count = 0
        items, most = self._items, self._limits.batch_spans
        while items and count < most:
            item = items[0]
            if isinstance(item, Encoded) and count and count + item.spans > most:
                break
            items.popleft()
            size = _size(item)
            self._taken += size
            try:
                count += self._add(item, groups)
            except Exception:  # a bug of ours must not end the thread
                _log.exception("Spans could not be encoded")
                self._lost += size
            if isinstance(item, Encoded):
                continue
            encoded += 1
            if encoded % _TURN == 0:
                time.sleep(_NAP_S)
        return count

    def _add(self, item: Item | Encoded, groups: dict[Source, list[bytes]]) -> int:
        """Add the spans of an item to those of their source; return how many they are."""
        if isinstance(item, Encoded):
            pieces: Sequence[bytes] = item.pieces
            count = item.spans
        elif isinstance(item, RecordedCall):
            pieces, count = self._calls.encode(item)
        else:
            by_source(self._exporter.encoder, item, groups)
            return len(item)
        groups.setdefault(self._source, []).extend(pieces)
        return count

    def _warn(self, why: str) -> None:
        if not self.dropped:
            _log.warning("Spans are dropped: %s; from now on they are only counted", why)
