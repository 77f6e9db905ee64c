"""Cut-offs of the score, chosen on held-out rows for a stated share of approvals or of bad ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.risk.score import LOWEST_SCORE
from triton_models.release import Cutoff, ScoreBand

Floats = npt.NDArray[np.floating[Any]]
Classes = npt.NDArray[np.int64]

BAND_NAMES = tuple("ABCDEFGHIJ")


def make_bands(
    scores: Floats, target: Classes, *, approved: Sequence[float] = (), bad: Sequence[float] = ()
) -> tuple[ScoreBand, ...]:
    """Return the bands, safest first; the last begins at the lowest score.

    Limits are whole points. Where two fall together, or none can be found, a band is left out.

    Args:
        scores: ``(rows,)``, of rows that nothing has learnt from.
        target: ``(rows,)``, 1 for default.
        approved: Shares of the rows above each limit, rising.
        bad: Or, the greatest bad rate of all that lie above each limit, rising.
    """
    if bad:
        limits = [limit_of_bad_rate(scores, target, rate) for rate in bad]
    else:
        limits = [limit_of_share(scores, share) for share in approved]
    bands: list[ScoreBand] = []
    above = np.inf
    for limit in (*limits, LOWEST_SCORE):
        if limit >= above:
            continue
        inside = (scores >= limit) & (scores < above)
        rate = float(target[inside].mean()) if inside.any() else None
        bands.append(
            ScoreBand(
                name=BAND_NAMES[len(bands)],
                minimum_score=float(limit),
                share=float(inside.mean()),
                bad_rate=rate,
            )
        )
        above = limit
    return tuple(bands)


def make_cutoff(
    scores: Floats,
    target: Classes,
    *,
    approval_rate: float | None = None,
    bad_rate: float | None = None,
) -> Cutoff:
    """Return the score from which a credit is approved.

    Args:
        scores: ``(rows,)``, of rows that nothing has learnt from.
        target: ``(rows,)``, 1 for default.
        approval_rate: The share to approve; without both, as many as were paid back.
        bad_rate: Or, the greatest bad rate of those approved.
    """
    if bad_rate is not None:
        limit, basis = limit_of_bad_rate(scores, target, bad_rate), f"bad rate {bad_rate:g}"
    else:
        share = float(1 - target.mean()) if approval_rate is None else approval_rate
        limit, basis = limit_of_share(scores, share), f"approval rate {share:.4g}"
    approved = scores >= limit
    return Cutoff(
        minimum_score=float(limit),
        chosen_for=basis,
        approval_rate=float(approved.mean()),
        bad_rate=float(target[approved].mean()) if approved.any() else None,
    )


def limit_of_share(scores: Floats, share: float) -> float:
    """Return the whole score that about ``share`` of the rows reach."""
    return float(max(LOWEST_SCORE, np.floor(np.quantile(scores, 1 - share))))


def limit_of_bad_rate(scores: Floats, target: Classes, rate: float) -> float:
    """Return the lowest whole score with at most ``rate`` bad ones among all who reach it.

    Where there is none, one point above the best.
    """
    whole = np.floor(scores)
    order = np.argsort(-whole, kind="stable")
    shares = np.cumsum(target[order]) / np.arange(1, len(order) + 1)
    last_of_score = np.append(np.diff(whole[order]) < 0, True)
    fits = np.flatnonzero(last_of_score & (shares <= rate))
    if not len(fits):
        return float(whole.max() + 1)
    return float(max(LOWEST_SCORE, whole[order][fits[-1]]))
