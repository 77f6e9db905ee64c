"""From the network's logits to probabilities and contributions, in numpy.

This is the yardstick of the exported step ``calibrate``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, softmax

Floats = npt.NDArray[np.floating[Any]]


def probabilities(logits: Floats, temperature: float) -> Floats:
    """Return ``(B, K)`` float64, each row sums to 1, of ``(B, K)`` logits."""
    return np.asarray(softmax(logits.astype(np.float64) / temperature, axis=-1))


def log_odds(logits: Floats, temperature: float) -> Floats:
    """Return log p - log(1 - p) of each class, float64, ``(…, K)``.

    Computed from the logits, since 1 - p has lost its digits when p is near 1.
    """
    scaled = logits.astype(np.float64) / temperature
    others = [logsumexp(np.delete(scaled, k, axis=-1), axis=-1) for k in range(scaled.shape[-1])]
    return scaled - np.stack(others, axis=-1)


def contributions(logits: Floats, reset_logits: Floats, temperature: float) -> Floats:
    """Return how far the log-odds of class K fall when feature F is reset.

    Args:
        logits: ``(B, K)`` float32.
        reset_logits: ``(B, F, K)`` float32, with feature F at its typical value.
        temperature: Of the calibration.

    Returns:
        ``(B, F, K)`` float64, positive speaks for the class.
    """
    row = log_odds(logits, temperature)[:, None]  # (B, 1, K)
    return row - log_odds(reset_logits, temperature)
