from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from model_builder.evaluation.calibration import fit_temperature
from model_builder.evaluation.scaling import Scaling, fit_scaling, log_shares

ROWS = 20_000
SHARES = np.array([0.85, 0.1, 0.05])


def drawn(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a perfect network that took all classes for equally frequent, and the classes."""
    draws = np.random.default_rng(0)
    target = draws.choice(3, rows, p=SHARES)
    seen = draws.normal(size=(rows, 3)) + 1.2 * np.eye(3)[target]
    return 1.2 * seen, target


def kept(target: np.ndarray, probabilities: np.ndarray, k: int) -> tuple[float, float]:
    """What was promised of the rows said to be of a class, and the share that was right."""
    rows = probabilities.argmax(axis=1) == k
    return float(probabilities[rows, k].mean()), float(np.mean(target[rows] == k))


def test_constants_undo_what_weights_of_classes_did() -> None:
    logits, target = drawn()
    scaling = fit_scaling(logits * 2, target, log_shares(target, 3))
    assert scaling.temperature == pytest.approx(2, rel=0.05)
    np.testing.assert_allclose(scaling.constants, np.log(SHARES) - np.log(SHARES).mean(), atol=0.1)


def test_promises_of_a_rare_class_are_kept_as_no_temperature_keeps_them() -> None:
    logits, target = drawn()
    promised, right = kept(target, softmax(logits / fit_temperature(logits, target), axis=1), 2)
    assert promised - right > 0.15
    scaling = fit_scaling(logits, target, log_shares(target, 3))
    promised, right = kept(target, scaling.probabilities(logits), 2)
    assert promised == pytest.approx(right, abs=0.05)


def test_the_slope_leads_to_the_least_loss_and_not_back_to_where_it_began() -> None:
    logits, target = drawn()
    far = fit_scaling(logits, target, np.array([-2.0, 0.0, 2.0]))
    near = fit_scaling(logits, target, log_shares(target, 3))
    np.testing.assert_allclose(far.constants, near.constants, atol=0.1)


def test_a_few_rows_move_little_from_what_is_expected() -> None:
    expected = np.array([1.0, 0.0, -1.0])
    logits, _ = drawn(4)
    scaling = fit_scaling(logits, np.array([0, 0, 1, 1]), expected)  # none of the last
    assert np.abs(np.array(scaling.constants) - expected).max() < 1.5


def test_rows_that_are_all_named_right_do_not_make_it_sure() -> None:
    logits, target = drawn(400)
    second, first = np.sort(logits, axis=1)[:, 1:].T
    right = (logits.argmax(axis=1) == target) & (first > second + 0.5)
    scaling = fit_scaling(logits[right], target[right], log_shares(target, 3))
    assert 0.95 < scaling.probabilities(logits[right]).max(axis=1).mean() < 0.995


def test_without_weights_there_is_a_temperature_alone() -> None:
    logits, target = drawn(500)
    assert fit_scaling(logits, target, None) == Scaling(
        fit_temperature(logits, target), (0.0, 0.0, 0.0)
    )


def test_shares_are_of_the_rows_and_a_class_without_rows_is_rare() -> None:
    shares = softmax(log_shares(np.array([0, 0, 0, 1]), 3))
    np.testing.assert_allclose(shares, np.array([3, 1, 1]) / 5)
