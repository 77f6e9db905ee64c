"""How differently a column is distributed in two splits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, ks_2samp

from model_builder.data_report.report import Drift

LEAST_PSI = 0.1
"""Below it nobody calls it a shift (Siddiqi 2006, Credit Risk Scorecards)."""
LEAST_KS = 0.1
CHANCE = 0.01
"""How likely it shall be that any column of a data set without drift is reported."""
_BINS = 10
_EMPTY = 0.5  # counted in every bin, so that none is infinitely far from another

Values = npt.NDArray[Any]


def compare_columns(
    name: str, between: str, one: Values, other: Values, *, numbers: bool, columns: int
) -> Drift:
    """Compare what a column holds in two splits.

    Args:
        name: Of the column.
        between: The splits, such as ``train and test``.
        one: ``(rows,)`` floats with NaN for missing, or any values that are compared whole.
        other: The same, of the other split.
        numbers: Whether the values lie on a scale: they are then put into bins that are equally
            full in ``one``, and compared by Kolmogorov and Smirnov too.
        columns: How many columns are compared; the more, the surer each must be.
    """
    first, second = _counts(one, other, numbers)
    psi, psi_p = stability_index(first, second)
    ks = ks_p = None
    if numbers:
        known, asked = one[~np.isnan(one)], other[~np.isnan(other)]
        if len(known) and len(asked):
            found = ks_2samp(known, asked)
            ks, ks_p = float(found.statistic), float(found.pvalue)
    sure = CHANCE / max(1, columns)
    drifted = psi >= LEAST_PSI and psi_p < sure
    if ks is not None and ks_p is not None:
        drifted = drifted or (ks >= LEAST_KS and ks_p < sure)
    return Drift(name, between, psi, psi_p, ks, ks_p, drifted)


def stability_index(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Return the population stability index, and how likely chance gives one as large.

    Between random parts of ``n`` and ``m`` rows it is about (1/n + 1/m) times a chi-squared of
    as many degrees as there are bins but one (Yurdakul 2018): small tables differ by chance.

    Args:
        first: ``(bins,)``, rows of one split in each bin.
        second: The same of the other.
    """
    used = (first + second) > 0
    first, second = first[used], second[used]
    n, m = int(first.sum()), int(second.sum())
    if len(first) < 2 or not n or not m:
        return 0.0, 1.0
    one = (first + _EMPTY) / (n + _EMPTY * len(first))
    other = (second + _EMPTY) / (m + _EMPTY * len(second))
    index = float(((other - one) * np.log(other / one)).sum())
    return index, float(chi2.sf(index / (1 / n + 1 / m), len(first) - 1))


def _counts(
    one: Values, other: Values, numbers: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return how many rows of each split lie in each bin; missing values have one of their own."""
    if numbers:
        known = one[~np.isnan(one)]
        ends = np.linspace(0, 1, _BINS + 1)[1:-1]
        edges = np.unique(np.quantile(known, ends)) if len(known) else np.empty(0)
        places = [
            np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, "right"))
            for values in (one, other)
        ]
        size = len(edges) + 2
    else:
        _, found = np.unique(np.concatenate([one, other]), return_inverse=True)
        places, size = [found[: len(one)], found[len(one) :]], int(found.max()) + 1
    first, second = (np.bincount(place, minlength=size) for place in places)
    return first, second
