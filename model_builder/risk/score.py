"""From the network's logit to a probability, a score and contributions, in numpy.

This is the yardstick of the exported step ``calibrate``. Log-odds are those of default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from model_builder.evaluation.risk_calibration import Calibration

Floats = npt.NDArray[np.floating[Any]]

LOWEST_SCORE = 300.0
HIGHEST_SCORE = 850.0
NEAR = 1e-9
"""Logits nearer than this to the reference have the slope at it."""


@dataclass(frozen=True)
class Scorecard:
    """Calibration and scale of a release."""

    calibration: Calibration
    base_score: float
    """The score at ``base_odds``."""
    base_odds: float
    """Paid to defaulted, such as 30 for 30:1."""
    points_to_double: float
    """Points that double the odds of being paid back."""
    reference_logit: float = 0.0
    """Of a row that is typical throughout: what contributions are measured from."""

    @property
    def points_per_log_odds(self) -> float:
        """The points that one unit of log-odds is worth."""
        return self.points_to_double / math.log(2)

    @property
    def even_score(self) -> float:
        """The score, before clipping, where default is as likely as not."""
        return self.base_score - self.points_per_log_odds * math.log(self.base_odds)

    @property
    def reference_log_odds(self) -> float:
        """The calibrated log-odds of a row that is typical throughout."""
        return float(self.log_odds(np.array([self.reference_logit]))[0])

    def log_odds(self, logits: Floats) -> Floats:
        """Return the calibrated log-odds, float64, of logits of any shape."""
        return self.calibration.log_odds(logits)

    def probabilities(self, logits: Floats) -> Floats:
        """Return the calibrated probabilities of default, float64."""
        return np.asarray(expit(self.log_odds(logits)))

    def scores(self, logits: Floats) -> Floats:
        """Return the scores, float64 in [300, 850], higher is safer."""
        return self.scores_of(self.log_odds(logits))

    def scores_of(self, log_odds: Floats) -> Floats:
        """Return the scores of calibrated log-odds."""
        points = self.even_score - self.points_per_log_odds * log_odds
        return np.clip(points, LOWEST_SCORE, HIGHEST_SCORE)

    def contributions(self, logits: Floats, attributions: Floats) -> Floats:
        """Return each feature's share of how far the log-odds lie from those of a typical row.

        Args:
            logits: ``(B, 1)`` float32.
            attributions: ``(B, F)``, shares of the logit's distance, which they add up to.

        Returns:
            ``(B, F)`` float64, positive raised the risk. A row adds up to
            ``log_odds(logit) - reference_log_odds``.
        """
        distance = logits.astype(np.float64) - self.reference_logit  # (B, 1)
        moved = self.log_odds(logits) - self.reference_log_odds
        near = np.abs(distance) < NEAR
        slope = self.calibration.slope(self.reference_logit)
        factor = np.where(near, slope, moved / np.where(near, 1.0, distance))
        return np.asarray(attributions.astype(np.float64) * factor)


def shares_of_falls(logits: Floats, reset_logits: Floats, reference: float) -> Floats:
    """Return shares of the logit's distance from ``reference``, from what each feature changes.

    For a network that can only be asked: a feature's share is by how much the logit falls when it
    alone becomes typical, and what these leave of the distance, or exceed it by, is spread in
    proportion to their size.

    Args:
        logits: ``(B, 1)`` float32.
        reset_logits: ``(B, F, 1)`` float32, with feature F at its typical value.
        reference: The logit of a typical row.

    Returns:
        ``(B, F)`` float64.
    """
    z = logits.astype(np.float64)
    falls = z - reset_logits[:, :, 0]
    sizes = np.abs(falls)
    whole = sizes.sum(axis=1, keepdims=True)
    left = z - reference - falls.sum(axis=1, keepdims=True)
    return np.asarray(falls + left * sizes / np.where(whole > 0, whole, 1.0))
