"""Calls that have ended on an event loop, encoded there: a few at a time, once they are answered.

Python runs one thread at a time. So the loop waits for what another thread encodes, too, and each
time that the lock goes to and fro costs both: more than the encoding, under load. What a call was
is in the processor's caches right after its end, and its parts are free again before the next.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gateway.telemetry.plain_calls import PlainCalls
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.span_encoding import SpanEncoder

_TURN = 32
"""Calls that are encoded in one go, which takes the event loop some 0.2 ms."""


class Encoded(NamedTuple):
    """Spans of calls that were encoded together."""

    pieces: list[bytes]
    spans: int
    """How many spans they are."""
    size: int
    """As how many they were counted before."""


class EndedCalls:
    """Encodes plain calls on the event loop on which they ended.

    Args:
        encoder: Of the exporter.
        most_spans: From so many on, what is encoded is passed on.
        size_of: About how many spans a call has.
        pass_on: Takes what was encoded, and calls that are not plain.
    """

    def __init__(
        self,
        encoder: SpanEncoder,
        most_spans: int,
        size_of: Callable[[RecordedCall], int],
        pass_on: Callable[[Encoded | RecordedCall], None],
    ) -> None:
        self._encode = PlainCalls(encoder).encode
        self._most_spans = most_spans
        self._size_of = size_of
        self._pass_on = pass_on
        self._calls: deque[RecordedCall] = deque()
        self._is_due = False

    def take(self, call: RecordedCall) -> bool:
        """Take a call that has ended, for later; return whether an event loop runs here."""
        if not self._is_due:
            try:
                loop = get_running_loop()
            except RuntimeError:
                return False
            self._soon(loop)
        self._calls.append(call)
        return True

    def _soon(self, loop: AbstractEventLoop) -> None:
        # Not now: what the loop has at hand, it first answers.
        loop.call_soon(self._turn, loop)
        self._is_due = True

    def left_lying(self) -> Iterator[RecordedCall]:
        """Give the calls that the loop has not come to, on any thread: it may have ended."""
        while self._calls:
            try:
                yield self._calls.popleft()
            except IndexError:  # it has, just now
                return

    def _turn(self, loop: AbstractEventLoop) -> None:
        pieces: list[bytes] = []
        count = size = 0
        self._is_due = False
        for turn, call in enumerate(self.left_lying(), 1):
            try:
                made = self._encode(call)
            except Exception:  # a bug of ours: whoever makes its spans one by one says so
                made = None
            if made is None:
                self._pass_on(call)
            else:
                pieces += made[0]
                count += made[1]
                size += self._size_of(call)
            if turn >= _TURN or count >= self._most_spans:
                break
        if self._calls:
            self._soon(loop)
        if count:
            self._pass_on(Encoded(pieces, count, size))
