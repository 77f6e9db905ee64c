"""Chooses below which probability a person must look."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from model_builder.diagnosis.settings import DiagnosisSettings

Floats = npt.NDArray[np.floating[Any]]
Classes = npt.NDArray[np.int64]

_CONFIDENCE = 0.95


def review_rule(probabilities: Floats, target: Classes, settings: DiagnosisSettings) -> float:
    """Return the threshold that the settings ask for.

    Args:
        probabilities: ``(rows, K)``, calibrated, of rows that did not train the network.
        target: ``(rows,)``, the class.
        settings: Either the coverage, or the accuracy.
    """
    if settings.review_coverage is not None:
        return coverage_threshold(probabilities, settings.review_coverage)
    return review_threshold(
        probabilities,
        target,
        wanted_accuracy=settings.review_accuracy,
        least_answered=settings.least_answered,
    )


def review_threshold(
    probabilities: Floats,
    target: Classes,
    *,
    wanted_accuracy: float,
    least_answered: float,
) -> float:
    """Return the smallest threshold whose answers are right often enough.

    Rows whose likeliest class reaches the threshold are answered. If no threshold reaches
    ``wanted_accuracy`` while it answers ``least_answered`` of the rows, the threshold is
    the one that answers just those.

    Args:
        probabilities: ``(rows, K)``, calibrated, of rows that did not train the network.
        target: ``(rows,)``, the class.
        wanted_accuracy: In [0, 1], of the answered rows.
        least_answered: Share of the rows, in (0, 1].
    """
    surest = probabilities.max(axis=1)
    order = np.argsort(-surest, kind="stable")
    right = (probabilities.argmax(axis=1) == target)[order]
    surest = surest[order]
    accuracy = np.cumsum(right) / np.arange(1, len(right) + 1)
    # Equal probabilities are answered together: only the last of them is a possible end.
    ends = np.append(surest[1:] < surest[:-1], True)
    fewest = math.ceil(least_answered * len(right))
    enough = np.arange(1, len(right) + 1) >= fewest
    good = np.flatnonzero(ends & enough & (accuracy >= wanted_accuracy))
    last = good[-1] if len(good) else np.flatnonzero(ends & enough)[0]
    return _rounded_down(surest[last])


def coverage_threshold(probabilities: Floats, coverage: float) -> float:
    """Return the greatest threshold that answers a share of the rows, in (0, 1], or more."""
    surest = np.sort(probabilities.max(axis=1))[::-1]
    return _rounded_down(surest[math.ceil(coverage * len(surest)) - 1])


def error_bound(wrong: int, answered: int) -> float:
    """Return the error rate that the answered rows stay below in 95 of 100 such samples.

    Clopper and Pearson (1934), one-sided, as selective prediction uses it (Geifman and
    El-Yaniv 2017, arXiv:1705.08500).
    """
    if wrong >= answered:
        return 1.0
    return float(beta.ppf(_CONFIDENCE, wrong + 1, answered - wrong))


def _rounded_down(probability: float) -> float:
    """Return a threshold that the row it was taken from still reaches in float32."""
    return math.floor(float(probability) * 10_000) / 10_000
