"""Probabilities that mean what they say, fitted on the validation split.

A temperature keeps the order of the rows, so it changes no AUC.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

SMALLEST_TEMPERATURE, MOST_TEMPERATURE = 0.05, 20.0

_IMAGINED = 0.5
"""Rows that count besides those that there are: so many named right, and as many named wrong."""

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]


def logits_loss(logits: Floats, target: Integers) -> float:
    """Return the mean log-loss of logits.

    Args:
        logits: ``(n, K)`` float, unnormalised; or ``(n,)`` or ``(n, 1)``, the log-odds of class 1.
        target: ``(n,)`` integers, the class.
    """
    logs = log_softmax(_by_class(logits, len(target)), axis=1)
    return float(-logs[np.arange(len(target)), target].mean())


def cautious_targets(target: Integers, classes: int) -> npt.NDArray[np.float64]:
    """Return what a calibration takes the classes of rows to be, ``(n, K)``, each row sums to 1.

    As if half a row more had been named right and half a row wrong, wherever it is among the rows
    and whichever other class it is of: Platt 1999 with the prior of Krichevsky and Trofimov. Else
    a network that names all of a few hundred rows right would be told that it cannot be wrong. It
    changes little for many rows, or where some are named wrong, and it keeps to the scale of
    the logits, which a prior on the temperature would not.

    Args:
        target: ``(n,)`` integers, the class of each row.
        classes: K, at least 2.
    """
    other = _IMAGINED / (len(target) + 2 * _IMAGINED)
    targets = np.full((len(target), classes), other / (classes - 1))
    targets[np.arange(len(target)), target] = 1 - other
    return targets


def fit_temperature(logits: Floats, target: Integers) -> float:
    """Return the temperature that divides the logits (Guo et al. 2017).

    By cautious targets: rows that are all named right leave it finite.

    Args:
        logits: ``(n, K)`` float, unnormalised; or ``(n,)``, the log-odds of class 1.
        target: ``(n,)`` integers, the class.

    Returns:
        Between 0.05 and 20; above 1 the network was too sure.
    """
    exact = _by_class(logits, len(target))
    targets = cautious_targets(target, exact.shape[1])

    def loss(log_temperature: float) -> float:
        logs = log_softmax(exact / np.exp(log_temperature), axis=1)
        return -float((targets * logs).sum(axis=1).mean())

    bounds = (np.log(SMALLEST_TEMPERATURE), np.log(MOST_TEMPERATURE))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _by_class(logits: Floats, rows: int) -> npt.NDArray[np.float64]:
    """Return ``(n, K)`` of the same, or of the log-odds of class 1."""
    exact = logits.astype(np.float64).reshape(rows, -1)
    if exact.shape[1] == 1:
        exact = np.concatenate([np.zeros_like(exact), exact], axis=1)
    return exact
