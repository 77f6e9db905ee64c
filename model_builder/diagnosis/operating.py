"""Operating points: thresholds that validation rows chose, and what they do elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.diagnosis.settings import DiagnosisSettings
from triton_models.release import OperatingPoint

Floats = npt.NDArray[np.floating[Any]]
Classes = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]
Measure = Callable[[Classes, Floats], float]


def told_apart(labels: Sequence[str]) -> list[int]:
    """Return the classes that are told from all others: of two, only the second."""
    return [1] if len(labels) == 2 else list(range(len(labels)))


def operating_points(
    target: Classes, probabilities: Floats, labels: Sequence[str], settings: DiagnosisSettings
) -> tuple[OperatingPoint, ...]:
    """Choose the thresholds; a class that no row has, or every row, gets none.

    Args:
        target: ``(rows,)`` of the validation rows.
        probabilities: ``(rows, K)``, calibrated.
        labels: K of them.
        settings: What is wanted.
    """
    points = []
    for k in told_apart(labels):
        truth, score = target == k, probabilities[:, k]
        if truth.all() or not truth.any():
            continue
        sensitive, specific = settings.wanted_sensitivity, settings.wanted_specificity
        for name, threshold in (
            ("balanced", balanced(truth, score)),
            (f"sensitivity {sensitive:g}", at_sensitivity(truth, score, sensitive)),
            (f"specificity {specific:g}", at_specificity(truth, score, specific)),
        ):
            points.append(OperatingPoint(name=name, label=labels[k], threshold=threshold))
    return tuple(points)


def at_sensitivity(truth: Truth, score: Floats, wanted: float) -> float:
    """Return the greatest threshold that finds the wanted share of what is there."""
    there = np.sort(score[truth])[::-1]
    return float(there[int(np.ceil(wanted * len(there))) - 1])


def at_specificity(truth: Truth, score: Floats, wanted: float) -> float:
    """Return the least threshold that leaves the wanted share of the others alone."""
    others = np.sort(score[~truth])
    alone = others[int(np.ceil(wanted * len(others))) - 1]
    above = score[score > alone]
    return float(above.min()) if len(above) else float(np.nextafter(alone, np.inf))


def balanced(truth: Truth, score: Floats) -> float:
    """Return the threshold where sensitivity and specificity are nearest to each other."""
    thresholds = np.unique(score)
    missed = np.searchsorted(np.sort(score[truth]), thresholds, "left") / truth.sum()
    false = 1 - np.searchsorted(np.sort(score[~truth]), thresholds, "left") / (~truth).sum()
    gap = np.abs(missed - false)
    best = np.flatnonzero(gap == gap.min())
    # Where the classes are far apart, the middle of the gap: as far from one as from the other.
    return float(thresholds[best[len(best) // 2]])


def point_measures(points: Sequence[OperatingPoint], labels: Sequence[str]) -> dict[str, Measure]:
    """Return sensitivity and specificity at each point, by name."""
    found: dict[str, Measure] = {}
    for point in points:
        k = labels.index(point.label)
        found[f"sensitivity[{point.label}] at {point.name}"] = _share(k, point.threshold, True)
        found[f"specificity[{point.label}] at {point.name}"] = _share(k, point.threshold, False)
    return found


def _share(k: int, threshold: float, there: bool) -> Measure:
    def measure(target: Classes, probabilities: Floats) -> float:
        asked = (target == k) == there
        if not asked.any():
            return float("nan")
        said = probabilities[asked, k] >= threshold
        return float(np.mean(said == there))

    return measure
