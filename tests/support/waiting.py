"""Waits for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

WAIT_S = 30
"""Only what is broken takes so long."""

PAUSE_S = 0.02


def wait_for(true: Callable[[], bool]) -> None:
    """Return as soon as it is true, and fail the test if it never is."""
    end = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"not true in {WAIT_S} s")
        time.sleep(PAUSE_S)
