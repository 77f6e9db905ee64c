"""What is measured of findings, the same for every kind of evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.diagnosis.operating import operating_points, point_measures, told_apart
from model_builder.diagnosis.settings import DiagnosisSettings
from model_builder.evaluation import metrics
from model_builder.evaluation.bootstrap import interval
from model_builder.tabular.evaluation import (
    DIAGNOSIS_MEASURES,
    Measure,
    answered_measures,
    ece_by_chance,
    measure,
)
from model_builder.task import Metrics
from triton_models.release import OperatingPoint

Floats = npt.NDArray[np.floating[Any]]
Classes = npt.NDArray[np.int64]

SMALLEST_GROUP = 10
"""Rows of a subgroup: the measures of fewer say nothing."""


@dataclass(frozen=True)
class Held:
    """Rows of one split that nothing has learnt from, and the answers to them."""

    target: Classes
    """``(rows,)``."""
    probabilities: Floats
    """``(rows, K)``, calibrated by other rows."""
    unusualness: Floats | None = None
    """``(rows,)``; ``None`` if it is not measured."""
    groups: npt.NDArray[np.str_] | None = None
    """``(rows,)``, the subgroup of each; ``None`` if there are none."""

    def part(self, rows: npt.NDArray[Any]) -> Held:
        """Return some of the rows."""
        return Held(
            self.target[rows],
            self.probabilities[rows],
            None if self.unusualness is None else self.unusualness[rows],
            None if self.groups is None else self.groups[rows],
        )


@dataclass(frozen=True)
class Judged:
    """What was measured."""

    labels: tuple[str, ...]
    held: Mapping[str, Held]
    """By split, the one that chose the thresholds first."""
    threshold: float
    """Below this probability of the likeliest finding a person must look."""
    points: tuple[OperatingPoint, ...]
    metrics: Mapping[str, Metrics]
    """By split."""
    groups: Mapping[str, Mapping[str, Metrics]]
    """By split and subgroup: how many rows, and how well they are answered."""


def judge(
    held: Mapping[str, Held], labels: Sequence[str], threshold: float, settings: DiagnosisSettings
) -> Judged:
    """Measure every split.

    Args:
        held: By split; the first chooses the operating points.
        labels: K of them.
        threshold: Of the review.
        settings: What is measured.
    """
    labels = tuple(labels)
    first = next(iter(held.values()))
    points = operating_points(first.target, first.probabilities, labels, settings)
    measures = _measures(labels, threshold, points)
    return Judged(
        labels,
        held,
        threshold,
        points,
        {
            split: _measured(measures, one, settings.seed, settings.resamples)
            for split, one in held.items()
        },
        {split: _by_group(one, settings) for split, one in held.items()},
    )


def _measures(
    labels: Sequence[str], threshold: float, points: Sequence[OperatingPoint]
) -> dict[str, Measure]:
    return {
        **DIAGNOSIS_MEASURES,
        "balanced_accuracy": balanced_accuracy,
        "classwise_ece": classwise_ece,
        **answered_measures(threshold),
        **(_class_measures(labels) if len(labels) > 2 else {}),
        **point_measures(points, labels),
    }


def measured_again(
    held: Held,
    labels: Sequence[str],
    threshold: float | None,
    points: Sequence[OperatingPoint],
    *,
    seed: int,
    resamples: int,
) -> Metrics:
    """Measure other answers to rows that were judged, at the same thresholds.

    Args:
        held: The rows' classes and the answers.
        labels: K of them.
        threshold: Of the review.
        points: The operating points that held-out rows chose.
        seed: Of the resampling.
        resamples: How many stand behind an interval.
    """
    measures = _measures(tuple(labels), threshold, points)
    return _measured(measures, held, seed, resamples)


def balanced_accuracy(target: Classes, probabilities: Floats) -> float:
    """Mean over the classes of the share of their rows that are named right."""
    said = probabilities.argmax(axis=1)
    return float(np.mean([np.mean(said[target == k] == k) for k in np.unique(target)]))


def classwise_ece(target: Classes, probabilities: Floats) -> float:
    """Mean over the classes of the calibration error of their own probability.

    Unlike that of the likeliest class, it sees one class promised too much and another too little.
    """
    classes = range(probabilities.shape[1])
    return float(
        np.mean([metrics.ece((target == k).astype(np.int64), probabilities[:, k]) for k in classes])
    )


def confusion(held: Held) -> npt.NDArray[np.int64]:
    """Return ``(K, K)``: how many rows of a class (down) were named what (across)."""
    classes = held.probabilities.shape[1]
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (held.target, held.probabilities.argmax(axis=1)), 1)
    return counts


def _class_measures(labels: Sequence[str]) -> dict[str, Measure]:
    return {f"auc[{labels[k]}]": _auc_of(k) for k in told_apart(labels)}


def _auc_of(k: int) -> Measure:
    def measure(target: Classes, probabilities: Floats) -> float:
        return metrics.auc((target == k).astype(np.int64), probabilities[:, k])

    return measure


def _measured(measures: Mapping[str, Measure], held: Held, seed: int, resamples: int) -> Metrics:
    found = measure(
        measures,
        held.target,
        held.probabilities,
        seed=seed,
        resamples=resamples,
    )
    found["ece_by_chance"] = ece_by_chance(held.probabilities)
    if held.unusualness is not None:
        above = {"unusual_share": lambda unusualness: float(np.mean(unusualness > 1))}
        found |= _measure_one(above, held.unusualness, seed, resamples)
    return finite(found)


def finite(found: Metrics) -> Metrics:
    """Leave out what cannot be measured, such as the AUC of a class that no row has."""
    return {name: metric for name, metric in found.items() if math.isfinite(metric.value)}


def _measure_one(
    measures: Mapping[str, Measure], values: Floats, seed: int, resamples: int
) -> Metrics:
    """Return measures of one value a row, with their intervals."""
    return {
        name: interval(one, values, seed=seed, resamples=resamples)
        for name, one in measures.items()
    }


def _by_group(held: Held, settings: DiagnosisSettings) -> dict[str, Metrics]:
    if held.groups is None:
        return {}
    measures = {name: DIAGNOSIS_MEASURES[name] for name in ("auc", "accuracy", "ece")} | {
        "balanced_accuracy": balanced_accuracy
    }
    found = {}
    for name in np.unique(held.groups):
        rows = np.flatnonzero(held.groups == name)
        if len(rows) >= SMALLEST_GROUP:
            found[str(name)] = _measured(
                measures, held.part(rows), settings.seed, settings.resamples
            )
    return found
