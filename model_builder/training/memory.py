"""What is free goes back to the operating system.

Batches of ever other shapes leave free memory between what is still held. glibc keeps it, finds no
room there for the next shape, and grows: a training of thirty epochs ends with several times what
it began with, nearly all of it free.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


@cache
def _trim() -> Callable[[int], int] | None:
    """Return glibc's ``malloc_trim``; ``None`` where the C library is another."""
    try:
        return ctypes.CDLL(None).malloc_trim  # type: ignore[no-any-return]
    except (AttributeError, OSError, TypeError):
        return None


def give_back() -> bool:
    """Give free memory back; return whether the C library can.

    Takes as long as it takes to fault the pages in again, a second for some GB: for the end of an
    epoch, not of a step.
    """
    trim = _trim()
    if trim is None:
        return False
    trim(0)
    return True
