"""Which Tritons bear that a call is cancelled."""

from __future__ import annotations

import pytest

from gateway.triton.cancelling import bears_cancelling


@pytest.mark.parametrize("version", ["2.59.0", "2.60", "2.59.0dev", "3.0.0"])
def test_one_that_was_mended_bears_it(version: str) -> None:
    assert bears_cancelling(version)


@pytest.mark.parametrize("version", ["2.51.0", "2.58.9", "1.99.0"])
def test_one_from_before_does_not(version: str) -> None:
    assert not bears_cancelling(version)


@pytest.mark.parametrize("version", ["", "2", "nightly", "v2.60.0", "2.x"])
def test_one_that_does_not_say_is_taken_for_one_that_does_not(version: str) -> None:
    assert not bears_cancelling(version)
