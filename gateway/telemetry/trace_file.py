"""A file of OTLP/JSON lines that several processes append to.

One line is one ``ExportTraceServiceRequest``, as the OpenTelemetry protocol's file format
says. A line is written with one append, so the gateway, its clients and the spans of Triton
can share a file. At ``max_bytes`` the file becomes ``<name>.1``.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gateway.telemetry.exporter import SendFailed
from gateway.telemetry.otlp_json import JsonSpans, spans_to_json
from gateway.telemetry.span import Span

MAX_BYTES = 64 * 1024 * 1024
_APPENDING = os.O_RDWR | os.O_APPEND | os.O_CREAT


def previous_file(path: Path) -> Path:
    """Return where a full file is put away."""
    return path.with_name(path.name + ".1")


class TraceFile:
    """Appends spans to a file.

    Args:
        path: The file; its folder is made.
        max_bytes: When the file is put away, in bytes.
    """

    encoder = JsonSpans()

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def send(self, request: bytes) -> None:
        """Write one line.

        Raises:
            SendFailed: If the disk does not take it.
        """
        try:
            self._append(request)
        except OSError as error:
            raise SendFailed(f"cannot write to {self._path}: {error}") from error

    def write(self, spans: Iterable[Span]) -> None:
        """Write spans.

        Raises:
            SendFailed: If the disk does not take them.
        """
        self.send(spans_to_json(spans))

    def close(self) -> None:
        """Do nothing: every line is in the file already."""

    def _append(self, request: bytes) -> None:
        # Opened anew for each line: another process may just have put the file away.
        try:
            descriptor = os.open(self._path, _APPENDING, 0o644)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, _APPENDING, 0o644)
        try:
            with suppress(OSError):  # some network drives have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # a line half written looks torn
            line = [request, b"\n"]
            if _is_torn(descriptor):
                line.insert(0, b"\n")
            if os.writev(descriptor, line) < sum(map(len, line)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if os.fstat(descriptor).st_size > self._max_bytes:
                self._put_away(descriptor)
        finally:
            os.close(descriptor)

    def _put_away(self, descriptor: int) -> None:
        """Rename the file, unless another process has just done so.

        Where that cannot be done the file grows on: the spans are in it.
        """
        with suppress(OSError):
            mine, current = os.fstat(descriptor), os.stat(self._path)
            if mine.st_ino == current.st_ino:
                os.replace(self._path, previous_file(self._path))


def _is_torn(descriptor: int) -> bool:
    """Return whether the last line has no end: a disk was full, or a writer was killed."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
