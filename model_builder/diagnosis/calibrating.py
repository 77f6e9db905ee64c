"""What the answers to validation rows are worth once they are calibrated."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.evaluation.calibration import logits_loss
from model_builder.evaluation.scaling import fit_scaling

Floats = npt.NDArray[np.floating[Any]]
Classes = npt.NDArray[np.int64]

_PARTS = 5


def cross_tempered(logits: Floats, target: Classes, expected: Floats | None = None) -> Floats:
    """Return ``(rows, K)``: each row's probabilities by a scaling that others chose.

    Args:
        logits: ``(rows, K)``, of rows that did not train the network.
        target: ``(rows,)``, the class.
        expected: As in :func:`~model_builder.evaluation.scaling.fit_scaling`.
    """
    parts = np.zeros(len(target), np.int64)
    for k in np.unique(target):
        rows = np.flatnonzero(target == k)
        parts[rows] = np.arange(len(rows)) % _PARTS
    answers = np.zeros(logits.shape)
    for part in np.unique(parts):
        asked = parts == part
        known = ~asked if not asked.all() else asked
        scaling = fit_scaling(logits[known], target[known], expected)
        answers[asked] = scaling.probabilities(logits[asked])
    return answers


def calibrated_loss(logits: Floats, target: Classes, expected: Floats | None = None) -> float:
    """Return the mean log-loss of rows by the scaling that is best for them.

    It chooses among networks that will be calibrated: one that has only become too sure is no
    worse than before.

    Args:
        logits: ``(rows, K)``, of rows that did not train the network.
        target: ``(rows,)``, the class.
        expected: As in :func:`~model_builder.evaluation.scaling.fit_scaling`.
    """
    return logits_loss(fit_scaling(logits, target, expected).scaled(logits), target)
