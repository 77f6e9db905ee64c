"""Calibrates the judged rows without any row having a part in its own calibration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from model_builder.tabular.evaluation import Floats
from model_builder.tabular.model import TableModel

_CALIBRATION_PARTS = 5


def cross_fitted(
    fitted: TableModel,
    calibrate: Callable[
        [npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float32]], Floats
    ],
) -> Floats:
    """Return probabilities for the judged rows that no row had a part in calibrating.

    Args:
        fitted: The trained network.
        calibrate: Takes known logits, their target and the logits that are asked.
    """
    logits, target = fitted.judged_logits, fitted.judged_target
    parts = _parts(fitted)
    answers: Floats | None = None
    for part in np.unique(parts):
        asked = parts == part
        some = calibrate(logits[~asked], target[~asked], logits[asked])
        if answers is None:
            answers = np.zeros((len(target), *some.shape[1:]))
        answers[asked] = some
    assert answers is not None
    return answers


def _parts(fitted: TableModel) -> npt.NDArray[np.int64]:
    """Return the folds, or five parts of the one validation split; groups stay whole."""
    if fitted.splits.cross_validated:
        return fitted.judged_folds
    keys = fitted.table.split_keys
    if keys is not None:
        judged = keys[fitted.splits.development][fitted.splits.judging]
        different, places = np.unique(judged, return_inverse=True)
        if len(different) >= _CALIBRATION_PARTS:
            return np.asarray(places % _CALIBRATION_PARTS)
    parts = np.zeros(len(fitted.judged_target), np.int64)
    for label in np.unique(fitted.judged_target):
        rows = np.flatnonzero(fitted.judged_target == label)
        parts[rows] = np.arange(len(rows)) % _CALIBRATION_PARTS
    return parts
