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

from triton_models.release import ScoreBand

Floats = npt.NDArray[np.floating[Any]]

LOWEST_SCORE = 300.0
HIGHEST_SCORE = 850.0
BAND_NAMES = ("A", "B", "C", "D", "E")


@dataclass(frozen=True)
class Scorecard:
    """Calibration and scale of a release."""

    slope: float
    """Platt's: calibrated log-odds are ``slope * logit + offset``."""
    offset: float
    base_score: float
    """The score at ``base_odds``."""
    base_odds: float
    """Paid to defaulted, such as 30 for 30:1."""
    points_to_double: float
    """Points that double the odds of being paid back."""

    @property
    def points_per_log_odds(self) -> float:
        """The points that one unit of log-odds is worth."""
        return self.points_to_double / math.log(2)

    @property
    def even_score(self) -> float:
        """The score, before clipping, where default is as likely as not."""
        return self.base_score - self.points_per_log_odds * math.log(self.base_odds)

    def log_odds(self, logits: Floats) -> Floats:
        """Return the calibrated log-odds, float64, of logits of any shape."""
        return self.slope * logits.astype(np.float64) + self.offset

    def probabilities(self, logits: Floats) -> Floats:
        """Return the calibrated probabilities of default, float64."""
        return np.asarray(expit(self.log_odds(logits)))

    def scores(self, logits: Floats) -> Floats:
        """Return the scores, float64 in [300, 850], higher is safer."""
        points = self.even_score - self.points_per_log_odds * self.log_odds(logits)
        return np.clip(points, LOWEST_SCORE, HIGHEST_SCORE)

    def contributions(self, logits: Floats, reset_logits: Floats) -> Floats:
        """Return how far the log-odds fall when a feature is reset.

        Args:
            logits: ``(B, 1)`` float32.
            reset_logits: ``(B, F, 1)`` float32, with feature F at its typical value.

        Returns:
            ``(B, F)`` float64, positive raised the risk.
        """
        fall = logits.astype(np.float64) - reset_logits[:, :, 0]  # (B, F)
        return self.slope * fall


def make_bands(scores: Floats) -> tuple[ScoreBand, ...]:
    """Return bands A (safest) to E that each hold a fifth of ``scores`` ``(rows,)``.

    Their limits are whole points. Where two limits fall together, the band between is left
    out; the last band begins at the lowest score.
    """
    limits = np.floor(np.quantile(scores, [0.8, 0.6, 0.4, 0.2]))
    bands: list[ScoreBand] = []
    for limit in (*limits, LOWEST_SCORE):
        if not bands or limit < bands[-1].minimum_score:
            bands.append(ScoreBand(name=BAND_NAMES[len(bands)], minimum_score=float(limit)))
    return tuple(bands)
