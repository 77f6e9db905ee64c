"""A timer of the event loop that is exact to some microseconds.

asyncio and uvloop wait in whole milliseconds, rounded up, which is longer than a small batch
takes from end to end. Where the kernel has timers that a loop can wait for like a socket
(Linux: ``timerfd``, in Python itself only from 3.13), one of those is used.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_NS = 1_000_000_000


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Alarm:
    """Calls back once after each time that it is set; setting it again moves it.

    Args:
        ring: What to call, in the event loop.
        exact: Whether to use a timer of the kernel where there is one.
    """

    def __init__(self, ring: Callable[[], None], *, exact: bool = True) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._spec = _TimerSpec()
        self._handle: asyncio.TimerHandle | None = None
        self._file = _timer_file() if exact else -1
        self.is_set = False
        if self._file >= 0:
            self._loop.add_reader(self._file, self._read)

    def set(self, delay_s: float) -> None:
        """Ring after ``delay_s``, which must be positive, and not at any time set before."""
        self.is_set = True
        if self._file < 0:
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_later(delay_s, self._rang)
            return
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(max(1, int(delay_s * _NS)), _NS)
        _settime(self._file, 0, ctypes.byref(self._spec), None)

    def close(self) -> None:
        """Ring no more."""
        self.is_set = False
        if self._handle is not None:
            self._handle.cancel()
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _read(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:  # it was moved after the loop had seen it ring
            return
        self._rang()

    def _rang(self) -> None:
        if self.is_set:
            self.is_set = False
            self._ring()


def _timer_file() -> int:
    """Return a kernel timer as a file, or -1 where there is none."""
    if not sys.platform.startswith("linux"):
        return -1
    return int(_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC))


if sys.platform.startswith("linux"):
    _libc = ctypes.CDLL(None, use_errno=True)
    _create = _libc.timerfd_create
    _settime = _libc.timerfd_settime
