"""What h2load takes for a success is none if the bytes of right answers did not come back."""

from __future__ import annotations

import pytest

from benchmarks.serving.bursts import faults
from benchmarks.serving.h2load import Load


def load(data_bytes: int, failed: int = 0) -> Load:
    return Load(100, failed, data_bytes, 1.0, (500,) * 100, 0.1)


def test_right_answers_have_no_fault() -> None:
    assert faults(load(2000), 20, size_varies=False) == []


@pytest.mark.parametrize("data_bytes", [1980, 2001], ids=["an error, without a body", "longer"])
def test_one_answer_of_another_size_is_a_fault(data_bytes: int) -> None:
    assert faults(load(data_bytes), 20, size_varies=False) == [
        f"{data_bytes} bytes came back instead of 2000"
    ]


def test_numbers_as_text_may_be_a_little_longer_but_not_missing() -> None:
    assert faults(load(2050), 20, size_varies=True) == []
    assert faults(load(1000), 20, size_varies=True)


def test_failed_calls_are_a_fault() -> None:
    assert faults(load(2000, failed=3), 20, size_varies=False) == ["3 calls failed"]
