from __future__ import annotations

import numpy as np
import pytest

from model_builder.errors import ParityBroken
from model_builder.evaluation.parity import compare


def test_reports_the_largest_difference() -> None:
    found = compare({"y": np.array([1.0, 2.0])}, {"y": np.array([1.0, 2.25])}, {"y": 0.5}, rows=2)
    assert found["y"].max_difference == 0.25
    assert (found["y"].rows, found["y"].tolerance, found["y"].compared) == (2, 0.5, "torch-onnx")


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (np.array([1.0]), np.array([1.2])),
        (np.array([1.0]), np.array([np.nan])),
        (np.array([np.inf]), np.array([-np.inf])),
        (np.array([1.0]), np.array([[1.0]])),
        (np.array(["a"], object), np.array(["b"], object)),
        (np.array([True]), np.array([False])),
    ],
    ids=["too-far", "nan", "infinities", "shape", "strings", "booleans"],
)
def test_refuses_what_differs(expected: np.ndarray, actual: np.ndarray) -> None:
    with pytest.raises(ParityBroken, match="output 'y' differs from torch"):
        compare({"y": expected}, {"y": actual}, {"y": 0.1}, rows=1)


@pytest.mark.parametrize(
    "values",
    [
        np.array([np.nan, 1.0]),
        np.array([np.inf, -np.inf]),
        np.array([["a", ""], ["b", "c"]], object),
        np.zeros((0, 3)),
    ],
    ids=["nan", "infinity", "strings", "empty"],
)
def test_equal_is_equal(values: np.ndarray) -> None:
    found = compare({"y": values}, {"y": values.copy()}, {"y": 0.0}, rows=len(values))
    assert found["y"].max_difference == 0


def test_refuses_an_output_that_is_missing() -> None:
    with pytest.raises(ParityBroken, match="output 'y'"):
        compare({"y": np.zeros(1)}, {}, {"y": 1.0}, rows=1)


def test_counts_rows_in_which_strings_differ() -> None:
    one = np.array([["a", "b"], ["c", "d"], ["e", "f"]], object)
    other = np.array([["a", "b"], ["x", "y"], ["e", "f"]], object)
    assert compare({"y": one}, {"y": other}, {"y": 1.0}, rows=3)["y"].max_difference == 1
