"""What a list is worth besides being right: does it reach beyond what everybody has?

Letters: ``Q`` users, ``K`` items shown, ``V`` catalogue.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_builder.evaluation.bootstrap import interval, mean_interval
from model_builder.recsys.evaluation import CUTS, Lists
from model_builder.task import Metrics

_RESAMPLES = 200
"""Of the coverage, which needs all lists for each."""


def measure_lists(
    lists: Lists,
    counts: npt.NDArray[np.int64],
    havers: npt.NDArray[np.int64],
    users: int,
    seed: int,
    cut: int = CUTS[0],
) -> Metrics:
    """Return coverage, novelty and popularity of the first ``cut`` items, with intervals.

    * ``coverage@K``: share of the catalogue that is shown to anybody. Fewer users show less: the
      interval is that of as many users drawn again, and lies below.
    * ``novelty@K``: mean surprise of a shown item, in bits: the logarithm of how few had it
      (Zhou et al. 2010, doi:10.1073/pnas.1000488107). An item that nobody had counts as one's.
    * ``popularity@K``: how popular what is shown is, as the mean share of items that are less
      popular: 0.5 if it is drawn at random, 1 if only the most popular is shown.

    Args:
        lists: Of each user.
        counts: ``(V + 1,)``, how often each item was had; the first is of padding.
        havers: ``(V + 1,)``, how many users had it, however often.
        users: How many there are.
        seed: Of the resampling.
        cut: ``K``.
    """
    shown = lists.items[:, :cut]
    there = shown > 0
    catalogue = len(counts) - 1
    surprise = np.append(0.0, np.log2(users / np.clip(havers[1:], 1, users)))
    below = np.append(0.0, popularity_places(counts))

    def coverage(items: npt.NDArray[np.int64]) -> float:
        return float(np.count_nonzero(np.bincount(items.ravel(), minlength=catalogue + 1)[1:])
                     / catalogue)  # fmt: skip

    return {
        f"coverage@{cut}": interval(coverage, shown, seed=seed, resamples=_RESAMPLES),
        f"novelty@{cut}": mean_interval(_means(surprise[shown], there), seed=seed),
        f"popularity@{cut}": mean_interval(_means(below[shown], there), seed=seed),
    }


def popularity_places(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return ``(V,)`` in [0, 1]: which share of the other items is less popular than each.

    Items as popular as each other share the middle. ``counts``: ``(V + 1,)``.
    """
    ordered = np.sort(counts[1:])
    below = np.searchsorted(ordered, counts[1:], "left")
    not_above = np.searchsorted(ordered, counts[1:], "right")
    return (below + not_above - 1) / 2 / max(len(ordered) - 1, 1)


def _means(
    values: npt.NDArray[np.float64], there: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return ``(Q,)``: the mean of each row where something is shown."""
    return np.where(there, values, 0).sum(1) / np.maximum(there.sum(1), 1)
