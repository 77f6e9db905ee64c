"""Probabilities that mean what they say, fitted on the validation split.

A temperature keeps the order of the rows, so it changes no AUC.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

SMALLEST_TEMPERATURE, MOST_TEMPERATURE = 0.05, 20.0

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]


def logits_loss(logits: Floats, target: Integers) -> float:
    """Return the mean log-loss of logits.

    Args:
        logits: ``(n, K)`` float, unnormalised; or ``(n,)`` or ``(n, 1)``, the log-odds of class 1.
        target: ``(n,)`` integers, the class.
    """
    exact = logits.astype(np.float64).reshape(len(target), -1)
    if exact.shape[1] == 1:
        exact = np.concatenate([np.zeros_like(exact), exact], axis=1)
    return float(-log_softmax(exact, axis=1)[np.arange(len(target)), target].mean())


def fit_temperature(logits: Floats, target: Integers) -> float:
    """Return the temperature that divides the logits (Guo et al. 2017).

    Args:
        logits: ``(n, K)`` float, unnormalised; or ``(n,)``, the log-odds of class 1.
        target: ``(n,)`` integers, the class.

    Returns:
        Between 0.05 and 20; above 1 the network was too sure.
    """
    exact = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        return logits_loss(exact / np.exp(log_temperature), target)

    bounds = (np.log(SMALLEST_TEMPERATURE), np.log(MOST_TEMPERATURE))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
