"""What is decided by held-out rows: bands, the cut-off, and how groups fare at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.risk.bands import make_bands, make_cutoff
from model_builder.risk.config import RiskConfig
from model_builder.risk.fairness import fairness
from model_builder.tabular.model import TableModel
from triton_models.release import Cutoff, GroupFairness, ScoreBand

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Decided:
    """Bands, the cut-off, and the groups of every protected attribute."""

    bands: tuple[ScoreBand, ...]
    cutoff: Cutoff
    fairness: tuple[GroupFairness, ...]


def decide(
    fitted: TableModel, probabilities: Floats, scores: Floats, config: RiskConfig
) -> Decided:
    """Choose for what the configuration states.

    Args:
        fitted: Has the table, and which rows nothing has learnt from.
        probabilities: ``(judged rows,)`` of default.
        scores: ``(judged rows,)``.
        config: States rates.
    """
    target = fitted.judged_target
    cutoff = make_cutoff(
        scores, target, approval_rate=config.approval_rate, bad_rate=config.bad_rate
    )
    bands = make_bands(
        scores, target, approved=config.band_approval_rates, bad=config.band_bad_rates
    )
    rows = fitted.splits.development[fitted.splits.judging]
    groups = fairness(fitted.table, rows, probabilities, scores, cutoff.minimum_score)
    return Decided(bands, cutoff, groups)
