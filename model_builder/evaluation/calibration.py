"""Probabilities that mean what they say, fitted on the validation split.

Both methods keep the order of the rows, so they change no AUC.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_expit, log_softmax

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]


def fit_temperature(logits: Floats, target: Integers) -> float:
    """Return the temperature that divides the logits (Guo et al. 2017).

    Args:
        logits: ``(n, K)`` float, unnormalised; or ``(n,)``, the log-odds of class 1.
        target: ``(n,)`` integers, the class.

    Returns:
        Between 0.05 and 20; above 1 the network was too sure.
    """
    if logits.ndim == 1:
        logits = np.stack([np.zeros_like(logits), logits], axis=1)
    rows = np.arange(len(target))

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        return float(-log_softmax(scaled, axis=1)[rows, target].mean())

    bounds = (np.log(0.05), np.log(20.0))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def fit_platt(logits: Floats, target: Integers) -> tuple[float, float]:
    """Return ``(slope, offset)`` so that sigmoid(slope * logit + offset) is calibrated.

    Platt 1999, with his smoothed targets, so that a separable split gives finite numbers. A
    slope is never negative: calibration must not turn the order round.

    Args:
        logits: ``(n,)`` float, log-odds of class 1.
        target: ``(n,)`` integers, 0 or 1.
    """
    z = logits.astype(np.float64)
    positives = int(np.count_nonzero(target == 1))
    negatives = len(target) - positives
    truth = np.where(target == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        slope, offset = parameters
        logit = slope * z + offset
        value = -(truth * log_expit(logit) + (1 - truth) * log_expit(-logit)).mean()
        error = expit(logit) - truth
        return float(value), np.array([(error * z).mean(), error.mean()])

    best = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(1e-3, None), (None, None)]
    )
    return float(best.x[0]), float(best.x[1])
