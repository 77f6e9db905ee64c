from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from model_builder.evaluation import metrics
from model_builder.evaluation.calibration import fit_temperature

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
