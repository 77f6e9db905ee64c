from __future__ import annotations

import numpy as np
import pytest

from triton_models.gaps import gaps

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [(1.5, 1, 0.5), (1, 1.5, 0.5), (NAN, 1, INF), (1, NAN, INF), (NAN, NAN, 0), (INF, INF, 0),
     (INF, -INF, INF), (INF, NAN, INF), (0, 0, 0)],
)  # fmt: skip
def test_no_number_is_infinitely_far_from_every_number_and_from_no_other(
    one: float, other: float, apart: float
) -> None:
    assert gaps(np.array([[one]], np.float32), np.array([[other]])).tolist() == [[apart]]


def test_the_gap_of_two_float32_is_not_rounded_to_one() -> None:
    one, other = np.array([16777216.0], np.float32), np.array([0.5], np.float32)
    assert gaps(one, other).tolist() == [16777215.5]
    assert gaps(np.array([2], np.uint8), np.array([3], np.uint8)).tolist() == [1]


def test_nothing_is_apart_nowhere() -> None:
    assert gaps(np.zeros((2, 0)), np.zeros((2, 0))).shape == (2, 0)
