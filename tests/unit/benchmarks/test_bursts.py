"""What h2load takes for a success is none if the bytes of right answers did not come back."""

from __future__ import annotations

import pytest

from benchmarks.serving.bursts import faults
from benchmarks.serving.h2load import Load


def load(data_bytes: int, failed: int = 0) -> Load:
    return Load(100, failed, data_bytes, 1.0, (500,) * 100, 0.1)


def test_right_answers_have_no_fault() -> None:
    assert faults(load(2000), 20, 3, size_varies=False) == []


@pytest.mark.parametrize(
    ("data_bytes", "told"),
    [
        (1980, "1980 bytes came back instead of 2000"),
        (2001, "2001 bytes came back, not answers of 20"),
        (2080, "2080 bytes came back instead of 2000"),
    ],
    ids=["an error, without a body", "longer", "more answers than were asked for"],
)
def test_an_answer_of_another_size_is_a_fault(data_bytes: int, told: str) -> None:
    assert faults(load(data_bytes), 20, 3, size_varies=False) == [told]


def test_answers_that_came_when_the_time_was_over_are_none() -> None:
    assert faults(load(2060), 20, 3, size_varies=False) == []


def test_numbers_as_text_may_be_a_little_longer_but_not_missing() -> None:
    assert faults(load(2050), 20, 3, size_varies=True) == []
    assert faults(load(1000), 20, 3, size_varies=True)


def test_failed_calls_are_a_fault() -> None:
    assert faults(load(2000, failed=3), 20, 3, size_varies=False) == ["3 calls failed"]
