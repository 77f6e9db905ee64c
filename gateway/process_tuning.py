"""How the process of a worker is set up for many short calls."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import resource

_THRESHOLDS = (20_000, 20, 50)
"""Of the garbage collector: a call leaves few cycles, so it need not look so often."""

_LIBC = ctypes.CDLL(None)
"""What is called of it is of glibc, and may be missing."""

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1024 * 1024
_PAGE_BYTES = resource.getpagesize()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:  # not on every platform
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def settle_garbage() -> None:
    """Let the garbage collector look at what is new only, once everything is built."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def return_large_blocks() -> None:
    """Have large blocks of memory go back to the system as soon as they are free.

    By itself glibc does so until one is freed, and keeps blocks of that size from then on. In them
    small ones come to lie that stay, and the rest goes back only in pieces.
    """
    tune = getattr(_LIBC, "mallopt", None)
    if tune is not None:
        tune(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def resident_bytes() -> int:
    """Return how much memory this process has; 0 where that cannot be told."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def trim_heap() -> None:
    """Give back to the system what the allocator holds free; other threads go on meanwhile."""
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)
