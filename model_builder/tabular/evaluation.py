"""What is measured of probabilities, the same for a network and for its baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from model_builder.evaluation import metrics
from model_builder.evaluation.bootstrap import interval
from model_builder.task import Metrics
from triton_models.release import Metric

Floats = npt.NDArray[np.floating[Any]]
Classes = npt.NDArray[np.int64]
Measure = Callable[..., float]

RISK_MEASURES: Mapping[str, Measure] = {
    "auc": metrics.auc,
    "gini": metrics.gini,
    "ks": metrics.ks,
    "accuracy": metrics.accuracy,
    "brier": metrics.brier,
    "log_loss": metrics.log_loss,
    "ece": metrics.ece,
    "lift@10": metrics.lift,
}
"""Of ``(rows,)`` probabilities of class 1."""

DIAGNOSIS_MEASURES: Mapping[str, Measure] = {
    "auc": metrics.macro_auc,
    "accuracy": metrics.accuracy,
    "brier": metrics.brier,
    "log_loss": metrics.log_loss,
    "ece": metrics.ece,
}
"""Of ``(rows, K)`` probabilities."""


def measure(
    measures: Mapping[str, Measure],
    target: Classes,
    probabilities: Floats,
    *,
    seed: int,
    resamples: int,
) -> Metrics:
    """Return every measure with its interval.

    Args:
        measures: By name.
        target: ``(rows,)`` int64.
        probabilities: ``(rows,)`` or ``(rows, K)``, as the measures take them.
        seed: Of the resampling.
        resamples: How many stand behind an interval.
    """
    return {
        name: interval(function, target, probabilities, seed=seed, resamples=resamples)
        for name, function in measures.items()
    }


def ece_by_chance(probabilities: Floats) -> Metric:
    """Return what ``ece`` would be if every probability were exactly right: its mean and 95 %."""
    chance = metrics.ece_by_chance(probabilities)
    low, high = np.quantile(chance, [0.025, 0.975])
    return Metric(value=float(chance.mean()), low=float(low), high=float(high))


def logistic_regression(
    inputs: npt.NDArray[np.float32], target: Classes, asked: npt.NDArray[np.float32]
) -> Floats:
    """Fit scikit-learn's logistic regression and return ``(rows, K)`` of ``asked``."""
    model = LogisticRegression(max_iter=5000)
    # In float64: its solver warns about a float32 that it cannot improve any more.
    model.fit(inputs.astype(np.float64), target)
    return np.asarray(model.predict_proba(asked.astype(np.float64)))


def cross_validated_regression(
    inputs: npt.NDArray[np.float32], target: Classes, folds: npt.NDArray[np.int64]
) -> Floats:
    """Return ``(rows, K)``: each row answered by a regression that has not seen its fold."""
    answers = np.zeros((len(target), int(target.max()) + 1))
    for fold in np.unique(folds):
        asked = folds == fold
        answers[asked] = logistic_regression(inputs[~asked], target[~asked], inputs[asked])
    return answers


def base_rate(target: Classes, rows: int, classes: int) -> Floats:
    """Return ``(rows, classes)``: the shares of the classes in ``target``, for every row."""
    shares = np.bincount(target, minlength=classes) / len(target)
    return np.tile(shares, (rows, 1))


def answered_measures(threshold: float) -> Mapping[str, Measure]:
    """Return measures of the rows that need no review: how many, and how many are right."""

    def share(target: Classes, probabilities: Floats) -> float:
        return float(np.mean(probabilities.max(axis=1) >= threshold))

    def accuracy(target: Classes, probabilities: Floats) -> float:
        answered = probabilities.max(axis=1) >= threshold
        if not answered.any():
            return float("nan")
        return metrics.accuracy(target[answered], probabilities[answered])

    return {"answered_share": share, "answered_accuracy": accuracy}
