from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from model_builder.evaluation.metrics import ece, log_loss
from model_builder.evaluation.risk_calibration import (
    BetaCalibration,
    IsotonicCalibration,
    fit_beta,
    fit_isotonic,
)


def rows(count=20_000, bend=0.0):
    """Logits that promise too much, and what happened."""
    draws = np.random.default_rng(7)
    truth = draws.normal(-1, 1.2, count)
    target = (draws.random(count) < expit(truth)).astype(np.int64)
    return 2 * truth + bend * np.sin(3 * truth), target


@pytest.mark.parametrize("fit", [fit_beta, fit_isotonic])
@pytest.mark.parametrize("bend", [0.0, 0.4])
def test_probabilities_become_true(fit, bend):
    logits, target = rows(bend=bend)
    before = expit(logits)
    after = expit(fit(logits[::2], target[::2]).log_odds(logits[1::2]))
    assert ece(target[1::2], before[1::2]) > 0.05
    assert ece(target[1::2], after) < 0.025
    assert log_loss(target[1::2], after) < log_loss(target[1::2], before[1::2])


@pytest.mark.parametrize("fit", [fit_beta, fit_isotonic])
def test_a_calibration_rises_strictly_and_its_slope_is_its_own(fit):
    logits, target = rows(2000)
    made = fit(logits, target)
    asked = np.linspace(-15, 15, 3001)
    risen = np.diff(made.log_odds(asked))
    assert risen.min() > 0
    middle = (asked[1:] + asked[:-1]) / 2
    slopes = np.array([made.slope(value) for value in middle])
    assert np.median(np.abs(slopes - risen / 0.01)) < 1e-3


def test_isotonic_needs_two_steps():
    logits = np.linspace(0, 1, 500)
    against = (logits < 0.5).astype(np.int64)
    assert isinstance(fit_isotonic(logits, against), BetaCalibration)
    assert isinstance(fit_isotonic(logits, 1 - against), IsotonicCalibration)


@pytest.mark.parametrize("seed", range(20))
def test_few_rows_give_finite_numbers(seed):
    draws = np.random.default_rng(seed)
    logits, target = draws.normal(0, 4, 30), np.arange(30) % 2
    for fit in (fit_beta, fit_isotonic):
        assert np.isfinite(fit(logits, target).log_odds(np.array([-50.0, 0, 50]))).all()
