"""95 % intervals by resampling rows (Efron's bias-corrected percentile bootstrap, 1981).

Resampling repeats rows, which moves some measures (a calibration error only grows): the plain
percentiles would lie beside the value that they are the interval of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from triton_models.release import Metric

_ENDS = norm.ppf([0.025, 0.975])


def interval(
    metric: Callable[..., float],
    *arrays: npt.NDArray[Any],
    rows: int | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Metric:
    """Measure once on all rows, and again on resampled rows for the interval.

    Args:
        metric: Takes ``arrays``, gives a number; NaN (a resample with one class) is left out.
        arrays: Each ``(rows, …)``; resampled together.
        rows: Rows of every array; by default the first array's.
        seed: Of the resampling.
        resamples: How many.

    Raises:
        ValueError: If the arrays differ in rows.
    """
    count = len(arrays[0]) if rows is None else rows
    lengths = {len(array) for array in arrays}
    if lengths != {count}:
        raise ValueError(f"expected {count} rows in every array, found {sorted(lengths)}")
    value = metric(*arrays)
    draws = np.random.default_rng(seed)
    values = np.empty(resamples)
    for i in range(resamples):
        chosen = draws.integers(0, count, count)
        values[i] = metric(*(array[chosen] for array in arrays))
    return _metric(value, values[np.isfinite(values)])


def mean_interval(
    values: npt.NDArray[np.floating], *, seed: int = 0, resamples: int = 1000
) -> Metric:
    """Return the mean of ``values`` ``(n,)`` and its interval; faster than :func:`interval`."""
    draws = np.random.default_rng(seed)
    count = len(values)
    means = np.array([values[draws.integers(0, count, count)].mean() for _ in range(resamples)])
    return _metric(float(np.mean(values)), means)


def _metric(value: float, resampled: npt.NDArray[np.float64]) -> Metric:
    if not len(resampled):
        return Metric(value=value, low=value, high=value)
    # Where the value lies among the resampled ones; half of those that equal it lie below.
    below = np.mean(resampled < value) + np.mean(resampled == value) / 2
    one = 1 / (len(resampled) + 1)  # a share of 0 or 1 would be an infinite bias
    bias = norm.ppf(np.clip(below, one, 1 - one))
    low, high = np.quantile(resampled, norm.cdf(2 * bias + _ENDS))
    # Beyond any correction, an interval at least holds its value.
    return Metric(value=value, low=min(float(low), value), high=max(float(high), value))
