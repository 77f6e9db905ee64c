"""A temperature and a constant for each class, fitted on the validation split.

Where each class counts alike in training, a network learns what the data would say if all classes
were as frequent. No temperature undoes that: it stretches logits and cannot shift them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from model_builder.evaluation.calibration import (
    MOST_TEMPERATURE,
    SMALLEST_TEMPERATURE,
    cautious_targets,
    fit_temperature,
)

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Scaling:
    """From logits to probabilities."""

    temperature: float
    """That divides the logits."""
    constants: tuple[float, ...]
    """K of them, added to the divided logits; all 0 where the training weighed rows alike."""

    def scaled(self, logits: Floats) -> npt.NDArray[np.float64]:
        """Return ``(n, K)`` log-probabilities but for a constant, of ``(n, K)`` logits."""
        return np.asarray(logits.astype(np.float64) / self.temperature + np.array(self.constants))

    def probabilities(self, logits: Floats) -> npt.NDArray[np.float64]:
        """Return ``(n, K)``, each row sums to 1, of ``(n, K)`` logits."""
        return np.asarray(softmax(self.scaled(logits), axis=1))


def log_shares(target: Integers, classes: int) -> npt.NDArray[np.float64]:
    """Return ``(K,)``: log of the share of each class, with a mean of 0.

    Args:
        target: ``(n,)``, the class of each training row.
        classes: K.
    """
    counts = np.bincount(target, minlength=classes).clip(min=1)
    shares = np.log(counts / counts.sum())
    return np.asarray(shares - shares.mean())


def fit_scaling(logits: Floats, target: Integers, expected: Floats | None) -> Scaling:
    """Return what makes probabilities of logits.

    Args:
        logits: ``(n, K)``, of rows that did not train the network.
        target: ``(n,)``, the class.
        expected: ``(K,)``, the constants where so few rows say nothing else: a row of a class
            counts as much as being 1 off. ``None`` if there are to be none.
    """
    if expected is None:
        return Scaling(fit_temperature(logits, target), (0.0,) * logits.shape[1])
    values = logits.astype(np.float64)
    targets = cautious_targets(target, values.shape[1])

    def loss(guess: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        divided, off = values / np.exp(guess[0]), guess[1:] - expected
        logs = log_softmax(divided + guess[1:], axis=1)
        over = np.exp(logs) - targets
        slope = np.concatenate([[-(over * divided).sum()], over.sum(axis=0) + off])
        value = 0.5 * (off**2).sum() - (targets * logs).sum()
        return float(value) / len(target), slope / len(target)

    bounds = [(np.log(SMALLEST_TEMPERATURE), np.log(MOST_TEMPERATURE))]
    found = minimize(
        loss,
        np.concatenate([[0.0], expected]),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds + [(None, None)] * len(expected),
    ).x
    return Scaling(float(np.exp(found[0])), tuple((found[1:] - found[1:].mean()).tolist()))
