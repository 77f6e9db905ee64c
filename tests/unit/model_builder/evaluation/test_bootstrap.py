from __future__ import annotations

import numpy as np
import pytest

from model_builder.evaluation.bootstrap import interval, mean_interval
from model_builder.evaluation.metrics import auc, ece


def test_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = interval(lambda v: float(v.mean()), values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)


def test_mean_interval_is_the_same_thing() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    assert mean_interval(values, seed=3) == interval(lambda v: float(v.mean()), values, seed=3)


def test_arrays_are_resampled_together() -> None:
    values = np.arange(50.0)
    found = interval(lambda one, other: float(np.abs(one - other).max()), values, values)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).normal(size=50)
    one, again, other = (mean_interval(values, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_resamples_with_one_class_are_left_out() -> None:
    target = np.array([1, 0, 0])
    found = interval(auc, target, np.array([0.9, 0.1, 0.2]), resamples=50)
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_refuses_arrays_of_different_length() -> None:
    with pytest.raises(ValueError, match=r"expected 3 rows in every array, found \[2, 3\]"):
        interval(auc, np.zeros(3), np.zeros(2))


def test_a_measure_that_resampling_moves_lies_in_its_interval() -> None:
    draws = np.random.default_rng(0)
    probabilities = draws.uniform(size=200)
    target = (draws.uniform(size=200) < probabilities).astype(np.int64)
    found = interval(ece, target, probabilities)
    moved = [ece(target[rows], probabilities[rows]) for rows in draws.integers(0, 200, (300, 200))]
    assert np.quantile(moved, 0.025) > found.value, "or this shows nothing"
    assert found.low < found.value <= found.high
