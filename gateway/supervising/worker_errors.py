"""Passes on what workers say on standard error, of what strangers cause only so much.

Envoy and grpc's core write a line for each handshake that fails and each header that makes no
sense: whoever can connect could fill a disk. They offer no bound, so it is here.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_OF_STRANGERS = re.compile(rb"(?m)^(?:[IWE]\d{4} \d\d:|TLS with )")
"""How lines of grpc's core begin, but for those before it ends the process; and of Envoy's TLS."""

_UNPRINTABLE = re.compile(rb"[^\x20-\x7e\n]")
_LINE = re.compile(rb"[^\n]*\n")

A_SECOND = 10
"""Lines of these from each worker; the others are counted."""

_CHUNK_BYTES = 64 * 1024
_JOIN_S = 2.0


class Bounded:
    """Lets lines through, of those that strangers cause only so many a second.

    Args:
        write: Takes what is let through.
        clock: Seconds, of a clock that only goes forward.
    """

    def __init__(
        self, write: Callable[[bytes], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._since = clock()
        self._lines = self._unsaid = 0
        self._rest = b""

    def take(self, data: bytes) -> None:
        """Take a chunk of what is said."""
        data = self._rest + data
        whole, newline, self._rest = data.rpartition(b"\n")
        if newline:
            self._pass_on(whole + newline)

    def end(self) -> None:
        """Take note that no more will be said."""
        self._say_how_many()
        if self._rest:
            self._write(self._rest)

    def _pass_on(self, lines: bytes) -> None:
        if not _OF_STRANGERS.search(lines):
            self._write(lines)
            return
        kept = [self._shown(line) for line in _LINE.findall(lines) if self._lets_through(line)]
        if kept:
            self._write(b"".join(kept))

    def _lets_through(self, line: bytes) -> bool:
        if not _OF_STRANGERS.match(line):
            return True
        now = self._clock()
        if now - self._since >= 1:
            self._say_how_many()
            self._since, self._lines = now, 0
        self._lines += 1
        self._unsaid += self._lines > A_SECOND
        return self._lines <= A_SECOND

    @staticmethod
    def _shown(line: bytes) -> bytes:
        """Return a line without bytes that could pass for something else in a log."""
        return _UNPRINTABLE.sub(b"?", line) if _OF_STRANGERS.match(line) else line

    def _say_how_many(self) -> None:
        if self._unsaid:
            self._write(b"%d more lines of failed connections and calls\n" % self._unsaid)
        self._unsaid = 0


class WorkerErrors:
    """Reads what workers say, each on a thread.

    Args:
        output: The file descriptor to which it is passed on.
    """

    def __init__(self, output: int) -> None:
        self._output = output
        self._threads: list[threading.Thread] = []

    def open(self) -> int:
        """Return where a new worker is to write; it and the worker's copy are to be closed."""
        source, target = os.pipe()
        thread = threading.Thread(
            target=self._read, args=(source,), name="worker-errors", daemon=True
        )
        thread.start()
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        return target

    def close(self) -> None:
        """Wait a moment for the last words of workers that have ended."""
        for thread in self._threads:
            thread.join(_JOIN_S)

    def _read(self, source: int) -> None:
        bounded = Bounded(self._write)
        try:
            while data := os.read(source, _CHUNK_BYTES):
                bounded.take(data)
        finally:
            os.close(source)
            bounded.end()

    def _write(self, data: bytes) -> None:
        with suppress(OSError):  # nobody listens any more; the workers must be read all the same
            while data:
                data = data[os.write(self._output, data) :]
