"""Free memory goes back to the operating system."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from model_builder.training import memory
from model_builder.training.memory import give_back

MB = 1_000_000


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Has the C library looked for anew, before and after."""
    memory._trim.cache_clear()
    yield
    memory._trim.cache_clear()


def test_what_lies_free_between_what_is_held_is_given_back(forgetful: None) -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("the C library is not glibc")
    # Small enough for the heap, where a block that is held keeps those below it from going back.
    blocks = [np.ones(60_000, np.uint8) for _ in range(3_000)]
    held = blocks[::50]
    del blocks
    before = psutil.Process().memory_info().rss
    assert give_back()
    assert before - psutil.Process().memory_info().rss > 100 * MB
    assert all(block.all() for block in held)


def test_another_c_library_is_left_alone(forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not give_back()
