"""Calibrates by the held-out rows, each judged by a calibration that has not seen it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from model_builder.evaluation import metrics as measures
from model_builder.evaluation.risk_calibration import Calibration, fit_beta, fit_isotonic
from model_builder.tabular.cross_fitting import cross_fitted
from model_builder.tabular.model import TableModel


@dataclass(frozen=True)
class Judged:
    """The held-out rows, each calibrated by the others, and how that was done."""

    calibration: Calibration
    """Fitted to all of them; what is exported."""
    probabilities: npt.NDArray[Any]
    """``(judged rows,)``, of default."""


def judged(fitted: TableModel, choice: str) -> Judged:
    """Calibrate by the held-out rows.

    Args:
        fitted: The trained network.
        choice: ``beta``, ``isotonic``, or ``auto`` for the one of the smaller log-loss.
    """
    names = _FITS if choice == "auto" else (choice,)
    found = {name: _cross_fitted(fitted, _FITS[name]) for name in names}
    target = fitted.judged_target
    best = min(found, key=lambda name: measures.log_loss(target, found[name]))
    return Judged(_FITS[best](fitted.judged_logits[:, 0], target), found[best])


_FITS: Mapping[str, Callable[..., Calibration]] = {"beta": fit_beta, "isotonic": fit_isotonic}


def _cross_fitted(fitted: TableModel, fit: Callable[..., Calibration]) -> npt.NDArray[Any]:
    def calibrate(
        known: npt.NDArray[np.float32],
        target: npt.NDArray[np.int64],
        asked: npt.NDArray[np.float32],
    ) -> npt.NDArray[Any]:
        return np.asarray(expit(fit(known[:, 0], target).log_odds(asked[:, 0])))

    return cross_fitted(fitted, calibrate)


def judged_probabilities(fitted: TableModel) -> npt.NDArray[Any]:
    """Return the probabilities of default of the judged rows, ``(judged rows,)``.

    By members and by a calibration that have not seen the row.
    """
    return _cross_fitted(fitted, fit_beta)
