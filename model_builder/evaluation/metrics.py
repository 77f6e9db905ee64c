"""The measures of the literature, on plain arrays.

``target``: ``(n,)`` integers; for two classes 0 or 1, where 1 is the positive class.
``probability``: ``(n,)`` float in [0, 1], of class 1. ``probabilities``: ``(n, K)`` float,
each row sums to 1. ``score``: ``(n,)`` float, higher means class 1 is likelier. ``rank``:
``(n,)`` integers from 1, the place of the true item among all that could be recommended.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]

_SMALLEST = 1e-12  # keeps log() finite for a probability of 0


def auc(target: Integers, score: Floats) -> float:
    """Area under the ROC curve: how often a positive outscores a negative; ties count half.

    NaN if there is only one class, or if a score is NaN.
    """
    positive = target == 1
    wanted, others = score[positive], np.sort(score[~positive])
    if not len(wanted) or not len(others) or np.isnan(score).any():
        return float("nan")
    # Bounds of the places that a positive could take among the negatives; ties lie between.
    below = np.searchsorted(others, wanted, "left").sum()
    not_above = np.searchsorted(others, wanted, "right").sum()
    return float((below + not_above) / 2 / (len(wanted) * len(others)))


def gini(target: Integers, score: Floats) -> float:
    """Twice the AUC less 1: 0 for chance, 1 for a perfect order."""
    return 2 * auc(target, score) - 1


def lift(target: Integers, score: Floats, share: float = 0.1) -> float:
    """How many times likelier class 1 is among the ``share`` of highest scores than among all.

    NaN if class 1 does not occur.
    """
    positive = target == 1
    if not positive.any():
        return float("nan")
    chosen = np.argsort(-score, kind="stable")[: max(1, round(share * len(score)))]
    return float(positive[chosen].mean() / positive.mean())


def macro_auc(target: Integers, probabilities: Floats) -> float:
    """Mean over the classes of one class against the others; for two classes, :func:`auc`.

    NaN if a class does not occur.
    """
    if probabilities.shape[1] == 2:
        return auc(target, probabilities[:, 1])
    each = [
        auc((target == k).astype(np.int64), probabilities[:, k])
        for k in range(probabilities.shape[1])
    ]
    return float(np.mean(each))


def accuracy(target: Integers, probabilities: Floats) -> float:
    """Share of rows whose likeliest class is the true one; ``(n,)`` is cut at 0.5."""
    if probabilities.ndim == 1:
        return float(np.mean((probabilities >= 0.5) == (target == 1)))
    return float(np.mean(probabilities.argmax(axis=1) == target))


def brier(target: Integers, probabilities: Floats) -> float:
    """Mean squared distance to the truth; over all classes if ``(n, K)`` with K above 2."""
    if probabilities.ndim == 1:
        return float(np.mean((probabilities - target) ** 2))
    if probabilities.shape[1] == 2:
        return brier(target, probabilities[:, 1])
    truth = np.eye(probabilities.shape[1])[target]
    return float(np.mean(((probabilities - truth) ** 2).sum(axis=1)))


def log_loss(target: Integers, probabilities: Floats) -> float:
    """Mean of minus the log of the probability given to what happened."""
    if probabilities.ndim == 1:
        given = np.where(target == 1, probabilities, 1 - probabilities)
    else:
        given = probabilities[np.arange(len(target)), target]
    return float(-np.mean(np.log(np.maximum(given, _SMALLEST))))


def ece(target: Integers, probabilities: Floats, bins: int = 10) -> float:
    """Expected calibration error: mean gap between what was promised and what happened.

    ``(n,)`` is the probability of class 1 against its share. ``(n, K)`` is the likeliest
    class's probability against how often it is right (Guo et al. 2017). Bins hold equally
    many rows, so that none is nearly empty.
    """
    if probabilities.ndim == 1:
        promised, happened = probabilities, (target == 1).astype(np.float64)
    else:
        promised = probabilities.max(axis=1)
        happened = (probabilities.argmax(axis=1) == target).astype(np.float64)
    order = np.argsort(promised, kind="stable")
    return float(_binned_gap((promised - happened)[order], bins))


def ece_by_chance(probabilities: Floats, bins: int = 10, draws: int = 200) -> Floats:
    """Return ``(draws,)``: :func:`ece` where all that was promised were exactly true.

    Few rows leave a gap in every bin by chance. An error that is no greater than these is none
    that the rows could show.
    """
    promised = np.sort(probabilities if probabilities.ndim == 1 else probabilities.max(axis=1))
    random = np.random.default_rng(0)
    return np.array(
        [
            _binned_gap(promised - (random.random(len(promised)) < promised), bins)
            for _ in range(draws)
        ]
    )


def _binned_gap(gaps: Floats, bins: int) -> np.floating:
    """Return the mean size over the rows of the mean gap of each one's bin; ``(n,)``, in order."""
    bins = min(bins, len(gaps))
    size, larger = divmod(len(gaps), bins)  # the first ``larger`` bins hold one row more
    begins = np.arange(bins) * size + np.minimum(np.arange(bins), larger)
    return np.abs(np.add.reduceat(gaps, begins)).sum() / len(gaps)


def ks(target: Integers, score: Floats) -> float:
    """Kolmogorov-Smirnov: the widest gap between the classes' cumulated shares of scores.

    NaN if there is only one class.
    """
    positives = int(np.count_nonzero(target == 1))
    negatives = len(target) - positives
    if not positives or not negatives:
        return float("nan")
    order = np.argsort(score, kind="stable")
    hit = target[order] == 1
    gap = np.abs(np.cumsum(hit) / positives - np.cumsum(~hit) / negatives)
    last_of_ties = np.append(np.diff(score[order]) > 0, True)
    return float(gap[last_of_ties].max())


def hit_rate_at(rank: Integers, k: int) -> float:
    """Share of rows whose true item is among the first ``k``."""
    return float(np.mean(rank <= k))


def ndcg_at(rank: Integers, k: int) -> float:
    """Mean of 1 / log2(1 + rank), 0 beyond ``k``: NDCG with one true item."""
    return float(np.mean(ndcg_gains(rank, k)))


def ndcg_gains(rank: Integers, k: int) -> npt.NDArray[np.float64]:
    """Return each row's share of :func:`ndcg_at`: ``(n,)`` float in [0, 1]."""
    return np.where(rank <= k, 1 / np.log2(1.0 + rank), 0.0)


def mrr_at(rank: Integers, k: int) -> float:
    """Mean of 1 / rank, 0 beyond ``k``."""
    return float(np.mean(np.where(rank <= k, 1.0 / rank, 0.0)))
