"""How much memory this process has, and what of it goes back to the system.

What is free stays with glibc where it lies between what is held: batches of ever other shapes, or
calls by the thousand, leave a process with several times what it uses.
"""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None)
"""What is called of it is of glibc, and may be missing."""

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1024 * 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Return how much memory this process has; 0 where that cannot be told."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def trim_heap() -> bool:
    """Give back to the system what the allocator holds free; return whether it can.

    Other threads go on meanwhile. It takes milliseconds, and some more when the pages are wanted
    again: a second for some GB.
    """
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True


def return_large_blocks() -> None:
    """Have large blocks of memory go back to the system as soon as they are free.

    By itself glibc does so until one is freed, and keeps blocks of that size from then on. In them
    small ones come to lie that stay, and the rest goes back only in pieces.
    """
    tune = getattr(_LIBC, "mallopt", None)
    if tune is not None:
        tune(_M_MMAP_THRESHOLD, _LARGE_BYTES)
