from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from model_builder.evaluation import metrics
from model_builder.evaluation.calibration import fit_platt, fit_temperature

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


def test_platt_undoes_a_slope_and_an_offset(logit, target) -> None:
    slope, offset = fit_platt(logit * 2 + 1, target)
    assert slope == pytest.approx(0.5, rel=0.05)
    assert offset == pytest.approx(-0.5, abs=0.05)


def test_calibration_lowers_the_calibration_error(logit, target) -> None:
    wrong = logit * 3 - 2
    slope, offset = fit_platt(wrong, target)
    before = metrics.ece(target, expit(wrong))
    assert metrics.ece(target, expit(slope * wrong + offset)) < before / 5


def test_platt_stays_finite_when_the_classes_are_separable() -> None:
    slope, offset = fit_platt(np.array([-3.0, -2.0, 2.0, 3.0]), np.array([0, 0, 1, 1]))
    assert np.isfinite([slope, offset]).all()
    assert slope < 10


def test_platt_never_turns_the_order_round(logit, target) -> None:
    slope, _ = fit_platt(-logit, target)
    assert slope > 0
