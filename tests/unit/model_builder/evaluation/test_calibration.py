from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from model_builder.evaluation import metrics
from model_builder.evaluation.calibration import cautious_targets, fit_temperature

ROWS = 20_000


@pytest.fixture
def logit() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, ROWS)


@pytest.fixture
def target(logit: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(1).random(ROWS) < expit(logit)).astype(int)


def test_finds_the_temperature_that_was_applied(logit, target) -> None:
    assert fit_temperature(logit * 3, target) == pytest.approx(3, rel=0.05)


def test_finds_the_temperature_of_many_classes() -> None:
    draws = np.random.default_rng(2)
    logits = draws.normal(0, 2, (ROWS, 4))
    target = np.array([draws.choice(4, p=row) for row in softmax(logits, axis=1)])
    assert fit_temperature(logits * 0.5, target) == pytest.approx(0.5, rel=0.05)


def test_calibration_lowers_the_calibration_error(logit, target) -> None:
    wrong = logit * 3
    temperature = fit_temperature(wrong, target)
    before = metrics.ece(target, expit(wrong))
    assert metrics.ece(target, expit(wrong / temperature)) < before / 5


def seen(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a network that knows how often it is right, in 0.96 of rows; their 24 classes."""
    draws = np.random.default_rng(seed)
    target = draws.integers(0, 24, rows)
    return 4 * (draws.normal(size=(rows, 24)) + 4 * np.eye(24)[target]), target


@pytest.mark.parametrize("sure", [0.2, 1, 5])
def test_rows_that_are_all_named_right_do_not_promise_that_all_others_will_be(sure) -> None:
    logits, target = seen(400, 3)
    right = np.flatnonzero(logits.argmax(axis=1) == target)[:190]
    temperature = fit_temperature(sure * logits[right], target[right])
    others, theirs = seen(ROWS, 4)
    promised = softmax(sure * others / temperature, axis=1)
    assert np.mean(promised.argmax(axis=1) == theirs) == pytest.approx(0.96, abs=0.01)
    assert 0.95 < promised.max(axis=1).mean() < 0.98
    assert metrics.ece(theirs, promised) < 0.02


def test_a_cautious_target_leaves_the_other_classes_half_a_row_in_all() -> None:
    targets = cautious_targets(np.array([0, 2, 2]), 3)
    np.testing.assert_allclose(targets.sum(axis=1), 1)
    assert targets[1, 2] == pytest.approx(3.5 / 4)
    assert targets[1, 0] == targets[1, 1] == targets[0, 2] == pytest.approx(0.5 / 4 / 2)
