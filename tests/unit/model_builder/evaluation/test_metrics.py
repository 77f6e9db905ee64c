from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from model_builder.evaluation import metrics


@pytest.fixture
def target() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, 500)


@pytest.fixture
def probability(target: np.ndarray) -> np.ndarray:
    draws = np.random.default_rng(1)
    return np.round(np.clip(0.3 * target + draws.random(500) * 0.7, 0, 1), 2)  # with ties


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (metrics.auc, reference.roc_auc_score),
        (metrics.brier, reference.brier_score_loss),
        (metrics.log_loss, reference.log_loss),
        (metrics.accuracy, lambda y, p: reference.accuracy_score(y, p >= 0.5)),
        (metrics.ks, lambda y, p: np.max(np.subtract(*reference.roc_curve(y, p)[1::-1]))),
    ],
    ids=["auc", "brier", "log_loss", "accuracy", "ks"],
)
def test_agrees_with_scikit_learn(metric, expected, target, probability) -> None:
    assert metric(target, probability) == pytest.approx(expected(target, probability))


@pytest.mark.parametrize("metric", [metrics.auc, metrics.ks])
def test_has_no_value_with_one_class(metric) -> None:
    assert np.isnan(metric(np.ones(5, dtype=int), np.linspace(0, 1, 5)))


@pytest.mark.parametrize(
    "metric", [metrics.brier, metrics.log_loss, metrics.accuracy], ids=lambda m: m.__name__
)
def test_two_columns_mean_the_same_as_the_second(metric, target) -> None:
    probability = np.random.default_rng(2).random(500)
    both = np.stack([1 - probability, probability], axis=1)
    assert metric(target, both) == pytest.approx(metric(target, probability))


def test_macro_auc_agrees_with_scikit_learn_on_three_classes() -> None:
    draws = np.random.default_rng(3)
    target = draws.integers(0, 3, 300)
    probabilities = draws.dirichlet([1, 1, 1], 300)
    expected = reference.roc_auc_score(target, probabilities, multi_class="ovr")
    assert metrics.macro_auc(target, probabilities) == pytest.approx(expected)


def test_brier_of_three_classes_sums_over_them() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert metrics.brier(np.array([0, 0]), probabilities) == pytest.approx(0.25)


def test_a_certain_mistake_has_a_finite_log_loss() -> None:
    assert np.isfinite(metrics.log_loss(np.array([1]), np.array([0.0])))


def test_ece_is_zero_when_promises_are_kept() -> None:
    probability = np.repeat([0.25, 0.75], 400)
    target = np.concatenate([np.arange(400) % 4 == 0, np.arange(400) % 4 != 0]).astype(int)
    assert metrics.ece(target, probability, bins=2) == pytest.approx(0)


def test_ece_is_the_gap_when_they_are_not() -> None:
    target = np.zeros(100, dtype=int)
    assert metrics.ece(target, np.full(100, 0.3)) == pytest.approx(0.3)
    assert metrics.ece(target, np.tile([0.1, 0.9], (100, 1))) == pytest.approx(0.9)


def test_ranks_give_the_ranking_measures() -> None:
    rank = np.array([1, 2, 11, 4])
    assert metrics.hit_rate_at(rank, 10) == pytest.approx(3 / 4)
    assert metrics.mrr_at(rank, 10) == pytest.approx((1 + 1 / 2 + 1 / 4) / 4)
    gains = 1 + 1 / np.log2(3) + 1 / np.log2(5)
    assert metrics.ndcg_at(rank, 10) == pytest.approx(gains / 4)
    assert metrics.ndcg_gains(rank, 10)[2] == 0


@pytest.mark.parametrize("n", [3, 10, 57])
def test_auc_is_how_often_a_positive_wins_counted_one_by_one(n) -> None:
    draws = np.random.default_rng(n)
    score, target = draws.random(n).round(1), np.arange(n) % 2
    pairs = [(p > q) + (p == q) / 2 for p in score[target == 1] for q in score[target == 0]]
    assert metrics.auc(target, score) == pytest.approx(np.mean(pairs))


def test_auc_of_a_score_that_is_no_number_is_none() -> None:
    assert np.isnan(metrics.auc(np.array([0, 1, 1]), np.array([0.1, np.nan, 0.3])))


@pytest.mark.parametrize("n", [3, 10, 11, 57])
def test_ece_is_the_gap_in_bins_that_hold_equally_many(n) -> None:
    draws = np.random.default_rng(n)
    promised = np.sort(draws.random(n))
    target = draws.integers(0, 2, n)
    bins = np.array_split(np.arange(n), min(10, n))
    gaps = [len(rows) * abs(promised[rows].mean() - target[rows].mean()) for rows in bins]
    assert metrics.ece(target, promised) == pytest.approx(sum(gaps) / n)


def test_the_calibration_error_of_true_promises_is_what_chance_leaves() -> None:
    draws = np.random.default_rng(0)
    promised = draws.uniform(0.5, 1, 240)
    chance = metrics.ece_by_chance(promised)
    seen = [metrics.ece((draws.random(240) < promised).astype(int), promised) for _ in range(200)]
    assert chance.mean() == pytest.approx(np.mean(seen), rel=0.1)
    assert metrics.ece_by_chance(np.repeat(promised, 100)).mean() < chance.mean() / 5
    assert metrics.ece_by_chance(np.ones((20, 2))).max() == 0  # (n, K): of the likeliest class
