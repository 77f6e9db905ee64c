from __future__ import annotations

import numpy as np
import pytest

from model_builder.tabular.evaluation import (
    DIAGNOSIS_MEASURES,
    RISK_MEASURES,
    answered_measures,
    base_rate,
    cross_validated_regression,
    logistic_regression,
    measure,
)

SURE = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])


@pytest.fixture
def separable() -> tuple[np.ndarray, np.ndarray]:
    inputs = np.random.default_rng(0).normal(size=(120, 2)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0).astype(np.int64)


@pytest.mark.parametrize(
    ("measures", "probabilities"), [(RISK_MEASURES, SURE[:, 1]), (DIAGNOSIS_MEASURES, SURE)]
)
def test_every_measure_has_an_interval_around_it(measures, probabilities):
    found = measure(measures, np.array([0, 1, 1, 1]), probabilities, seed=0, resamples=200)
    assert found.keys() == measures.keys()
    assert found["auc"].value == 1
    assert found["accuracy"].value == 0.75
    assert all(each.low <= each.high for each in found.values())


def test_the_interval_is_of_as_many_resamples_as_were_asked_for():
    target = np.array([0, 1, 1, 1])
    one = measure({"accuracy": RISK_MEASURES["accuracy"]}, target, SURE[:, 1], seed=0, resamples=1)
    # The only resample is one end, the value itself the other.
    assert one["accuracy"].value in (one["accuracy"].low, one["accuracy"].high)
    many = measure(RISK_MEASURES, target, SURE[:, 1], seed=0, resamples=200)
    assert many["accuracy"].low < many["accuracy"].high


def test_a_regression_learns_what_a_line_separates(separable):
    inputs, target = separable
    found = logistic_regression(inputs[:80], target[:80], inputs[80:])
    assert found.shape == (40, 2)
    assert (found.argmax(axis=1) == target[80:]).mean() > 0.9


def test_no_row_is_answered_by_a_regression_that_has_seen_it(separable):
    """Labels that are noise cannot be known but by having seen them."""
    noise = np.random.default_rng(1).integers(0, 2, 120)
    wide = np.random.default_rng(2).normal(size=(120, 110)).astype(np.float32)
    seen = logistic_regression(wide, noise, wide)
    unseen = cross_validated_regression(wide, noise, np.arange(120) % 4)
    assert (seen.argmax(axis=1) == noise).mean() > 0.95
    assert abs((unseen.argmax(axis=1) == noise).mean() - 0.5) < 0.2
    np.testing.assert_allclose(unseen.sum(axis=1), 1)


def test_the_base_rate_is_the_same_for_every_row_and_knows_all_classes():
    assert base_rate(np.array([0, 0, 1, 0]), 2, 3).tolist() == [[0.75, 0.25, 0.0]] * 2


def test_only_sure_answers_count_as_answered():
    measures = answered_measures(0.7)
    target = np.array([0, 1, 1, 0])
    assert measures["answered_share"](target, SURE) == 0.75
    assert measures["answered_accuracy"](target, SURE) == pytest.approx(2 / 3)


def test_without_any_answer_there_is_no_accuracy():
    measures = answered_measures(0.95)
    assert measures["answered_share"](np.array([0, 1, 1, 0]), SURE) == 0
    assert np.isnan(measures["answered_accuracy"](np.array([0, 1, 1, 0]), SURE))
