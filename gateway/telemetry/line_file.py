"""A file of lines that several processes append to."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

_APPENDING = os.O_RDWR | os.O_APPEND | os.O_CREAT


def previous_file(path: Path) -> Path:
    """Return where a full file is put away."""
    return path.with_name(path.name + ".1")


class LineFile:
    """Appends whole lines to a file.

    Args:
        path: The file; its folder is made.
        max_bytes: When the file is put away, in bytes; ``None``: never.

    Attributes:
        lost: Files that were put away before, and were replaced by the next.
    """

    def __init__(self, path: Path, max_bytes: int | None) -> None:
        self.path = path
        self.lost = 0
        self._max_bytes = max_bytes

    def append(self, *lines: bytes) -> None:
        """Write lines with one append, so that processes can share the file.

        Args:
            lines: Parts of what is written, joined by the system; the last ends with a newline.

        Raises:
            OSError: If the disk does not take them.
        """
        # Opened anew each time: another process may just have put the file away.
        try:
            descriptor = os.open(self.path, _APPENDING, 0o644)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, _APPENDING, 0o644)
        try:
            with suppress(OSError):  # some network drives have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # a line half written looks torn
            if _is_torn(descriptor):
                lines = (b"\n", *lines)
            if os.writev(descriptor, lines) < sum(map(len, lines)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._max_bytes is not None and os.fstat(descriptor).st_size > self._max_bytes:
                self._put_away(descriptor)
        finally:
            os.close(descriptor)

    def _put_away(self, descriptor: int) -> None:
        """Rename the file, unless another process has just done so.

        Where that cannot be done the file grows on: the lines are in it.
        """
        with suppress(OSError):
            mine, current = os.fstat(descriptor), os.stat(self.path)
            if mine.st_ino == current.st_ino:
                previous = previous_file(self.path)
                had_one = previous.exists()
                os.replace(self.path, previous)
                self.lost += had_one


def _is_torn(descriptor: int) -> bool:
    """Return whether the last line has no end: a disk was full, or a writer was killed."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
