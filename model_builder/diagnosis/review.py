"""Chooses below which probability a person must look."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def review_threshold(
    probabilities: npt.NDArray[np.floating[Any]],
    target: npt.NDArray[np.int64],
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
    # Rounded down, so that the row at the threshold is still answered in float32.
    return math.floor(float(surest[last]) * 10_000) / 10_000
