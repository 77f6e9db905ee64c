"""Log-odds that mean what they say: beta and isotonic calibration of a logit.

Both rise strictly, so they change no order and no AUC, and keep a monotone network monotone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
from sklearn.isotonic import IsotonicRegression

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]

_BINS = 50
"""Equally full, before isotonic regression: a step of a few rows would be noise."""
_LEAST_ROWS = 40
"""In a bin."""
_LEAST_SLOPE = 0.05
"""Between two knots: what rises strictly keeps the order of the rows."""
_PRIOR_ROWS = 1.0


@dataclass(frozen=True)
class BetaCalibration:
    """Kull et al. 2017: ``rise * ln p - fall * ln(1 - p) + offset`` of ``p = sigmoid(logit)``."""

    rise: float
    fall: float
    offset: float
    name = "beta"

    def log_odds(self, logits: Floats) -> Floats:
        """Return calibrated log-odds, float64, of logits of any shape."""
        z = logits.astype(np.float64)
        return np.asarray(self.rise * log_expit(z) - self.fall * log_expit(-z) + self.offset)

    def slope(self, logit: float) -> float:
        """Return by how much the log-odds rise with the logit."""
        return float(self.rise * expit(-logit) + self.fall * expit(logit))


@dataclass(frozen=True)
class IsotonicCalibration:
    """Straight lines between knots that isotonic regression has found."""

    knots: tuple[float, ...]
    """Logits, rising; at least two."""
    values: tuple[float, ...]
    """The log-odds there, rising."""
    outer_slope: float
    """Before the first knot and behind the last."""
    name = "isotonic"

    @property
    def widths(self) -> npt.NDArray[np.float64]:
        """``(K - 1,)``, between the knots."""
        return np.diff(self.knots)

    @property
    def slopes(self) -> npt.NDArray[np.float64]:
        """``(K - 1,)``, between the knots."""
        return np.asarray(np.diff(self.values) / self.widths)

    def log_odds(self, logits: Floats) -> Floats:
        """Return calibrated log-odds, float64, of logits of any shape."""
        z = logits.astype(np.float64)
        first, last = self.knots[0], self.knots[-1]
        inner = np.clip(z[..., None] - np.array(self.knots[:-1]), 0, self.widths) @ self.slopes
        outer = np.minimum(z - first, 0) + np.maximum(z - last, 0)
        return np.asarray(self.values[0] + inner + self.outer_slope * outer)

    def slope(self, logit: float) -> float:
        """Return by how much the log-odds rise with the logit."""
        if not self.knots[0] <= logit < self.knots[-1]:
            return self.outer_slope
        return float(self.slopes[np.searchsorted(self.knots, logit, "right") - 1])


Calibration = BetaCalibration | IsotonicCalibration


def fit_beta(logits: Floats, target: Integers) -> BetaCalibration:
    """Return the beta calibration of the least log-loss; neither share is negative.

    Args:
        logits: ``(n,)`` float, log-odds of class 1.
        target: ``(n,)`` integers, 0 or 1; smoothed as Platt does.
    """
    z = logits.astype(np.float64)
    high, low = log_expit(z), log_expit(-z)
    positives = int(np.count_nonzero(target == 1))
    negatives = len(target) - positives
    truth = np.where(target == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        rise, fall, offset = parameters
        log_odds = rise * high - fall * low + offset
        value = -(truth * log_expit(log_odds) + (1 - truth) * log_expit(-log_odds)).mean()
        error = expit(log_odds) - truth
        gradient = [(error * high).mean(), -(error * low).mean(), error.mean()]
        return float(value), np.array(gradient)

    bounds = [(1e-3, None), (1e-3, None), (None, None)]
    best = minimize(loss, np.array([1.0, 1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    return BetaCalibration(*(float(value) for value in best.x))


def fit_isotonic(logits: Floats, target: Integers) -> Calibration:
    """Return isotonic regression with straight lines between its steps.

    Falls back to :func:`fit_beta` where the rows show fewer than two steps.

    Args:
        logits: ``(n,)`` float, log-odds of class 1.
        target: ``(n,)`` integers, 0 or 1.
    """
    order = np.argsort(logits, kind="stable")
    z, hit = logits.astype(np.float64)[order], (target == 1)[order].astype(np.float64)
    bins = max(1, min(_BINS, len(z) // _LEAST_ROWS))
    parts = np.array_split(np.arange(len(z)), bins)
    centres = np.array([z[part].mean() for part in parts])
    shares = np.array([hit[part].mean() for part in parts])
    sizes = np.array([len(part) for part in parts])
    stepped = IsotonicRegression().fit_transform(centres, shares, sample_weight=sizes)
    _, block = np.unique(stepped, return_inverse=True)
    rows = np.bincount(block, sizes)
    knots = np.bincount(block, sizes * centres) / rows
    risen = np.bincount(block, sizes * stepped)
    values = logit((risen + _PRIOR_ROWS * hit.mean()) / (rows + _PRIOR_ROWS))
    if len(knots) < 2 or not np.isfinite(values).all():
        return fit_beta(logits, target)
    rises = np.maximum(np.diff(values), _LEAST_SLOPE * np.diff(knots))
    rising = values[0] + np.concatenate([[0.0], np.cumsum(rises)])
    rising += np.average(values - rising, weights=rows)
    outer = max(_LEAST_SLOPE, float((rising[-1] - rising[0]) / (knots[-1] - knots[0])))
    return IsotonicCalibration(tuple(knots.tolist()), tuple(rising.tolist()), outer)
