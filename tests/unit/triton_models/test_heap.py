"""A process knows how much memory it has, and gives back what is free."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import numpy as np
import psutil
import pytest

from triton_models import heap
from triton_models.heap import resident_bytes, return_large_blocks, trim_heap

MB = 1_000_000


def test_a_process_knows_how_much_memory_it_has() -> None:
    assert resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)


MEASURED = """
import sys
from triton_models.heap import resident_bytes, return_large_blocks, trim_heap

kept = []

def left_of(blocks):  # of so many bytes each, with something smaller between them that stays
    before = resident_bytes()
    held = [(blocks * b"x", kept.append(100_000 * b"x")) for _ in range(40_000_000 // blocks)]
    held.clear()
    return resident_bytes() - before

if "large" in sys.argv:
    return_large_blocks()
    left_of(2_000_000)  # glibc would learn from it to keep such blocks
    print(left_of(2_000_000))
else:
    left_of(50_000)
    before = resident_bytes()
    trim_heap()
    print(before - resident_bytes())
"""


def measured(*how: str) -> int:
    """What a process of its own says."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *how],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return int(done.stdout)


def test_large_blocks_go_back_as_soon_as_they_are_free() -> None:
    assert measured("large") < 10_000_000


def test_what_the_allocator_holds_free_can_be_given_back() -> None:
    assert measured("trim") > 20_000_000


def test_what_lies_free_between_what_is_held_is_given_back() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("the C library is not glibc")
    # Small enough for the heap, where a block that is held keeps those below it from going back.
    blocks = [np.ones(60_000, np.uint8) for _ in range(3_000)]
    held = blocks[::50]
    del blocks
    before = psutil.Process().memory_info().rss
    assert trim_heap()
    assert before - psutil.Process().memory_info().rss > 100 * MB
    assert all(block.all() for block in held)


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_LIBC", object())
    assert not trim_heap()
    return_large_blocks()
