"""Bins that are explicit buckets and exponential ones at once.

The bounds of both are put together into one sorted row. Who counts into that row counts once, and
has both histograms exactly, because every bound of either is also a bound of the row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

SCALE = 3
"""Of exponential buckets, in OpenTelemetry's and in Prometheus' terms: each is 2^(1/8) wide."""

Counts = npt.NDArray[np.int64]

_FOLD = 2**SCALE


@dataclass(frozen=True)
class Exponential:
    """The exponential buckets of a histogram.

    Attributes:
        zero_count: Values that are at most the least bound.
        first: The place ``i`` of the first bucket: it holds values in ``(2^(i/8), 2^((i+1)/8)]``.
        counts: ``(N,)`` int64, of each bucket from there on; the last is not 0.
    """

    zero_count: int
    first: int
    counts: Counts


@dataclass(frozen=True, eq=False)
class Grid:
    """The bins of a quantity; each goes from above one bound up to and with the next.

    Args:
        explicit: The upper bounds of the explicit buckets, rising; there is one more, without end.
        lowest: 2^lowest is the least exponential bound: what is not above it counts as zero.
        highest: 2^highest is the largest; what is above it counts into the last bucket.

    Attributes:
        bounds: ``(F,)`` float64, of all bins but the last, which has no upper bound.
        explicit_of: ``(F + 1,)`` int64, the explicit bucket that each bin lies in.
    """

    explicit: tuple[float, ...]
    lowest: int
    highest: int
    bounds: npt.NDArray[np.float64] = field(init=False)
    explicit_of: Counts = field(init=False)
    _exponential_of: Counts = field(init=False)

    def __post_init__(self) -> None:
        places = np.arange(self.lowest * _FOLD, self.highest * _FOLD + 1)
        exponential = 2.0 ** (places / _FOLD)
        bounds = np.unique(np.concatenate([np.array(self.explicit), exponential]))
        uppers = np.append(bounds, np.inf)
        explicit_of = np.searchsorted(np.array(self.explicit), uppers, side="left")
        # 0 is the bucket of zeros, 1 the first exponential one.
        exponential_of = np.searchsorted(exponential, uppers, side="left").clip(
            max=len(exponential) - 1
        )
        object.__setattr__(self, "bounds", bounds)
        object.__setattr__(self, "explicit_of", explicit_of)
        object.__setattr__(self, "_exponential_of", exponential_of)

    def __len__(self) -> int:
        """Return the number of bins."""
        return len(self.bounds) + 1

    @property
    def zero_threshold(self) -> float:
        """The largest value that counts as zero in the exponential buckets."""
        return float(2.0**self.lowest)

    def bins(self, values: npt.NDArray[Any]) -> Counts:
        """Return the bin of each value, ``(N,)`` of any number type to ``(N,)`` int64."""
        return np.searchsorted(self.bounds, values, side="left")

    def explicit_counts(self, counts: Counts) -> Counts:
        """Return how many values each explicit bucket has.

        Args:
            counts: ``(F + 1,)``, of each bin.

        Returns:
            ``(E + 1,)``, not added up; the last is above all bounds.
        """
        return _added_up(self.explicit_of, counts, len(self.explicit) + 1)

    def exponential(self, counts: Counts) -> Exponential:
        """Return the exponential buckets.

        Args:
            counts: ``(F + 1,)``, of each bin.
        """
        buckets = (self.highest - self.lowest) * _FOLD
        all_counts = _added_up(self._exponential_of, counts, buckets + 1)
        zeros, positive = int(all_counts[0]), all_counts[1:]
        filled = np.flatnonzero(positive)
        if not len(filled):
            return Exponential(zeros, 0, positive[:0])
        first, last = int(filled[0]), int(filled[-1])
        return Exponential(zeros, self.lowest * _FOLD + first, positive[first : last + 1])


def _added_up(bucket_of: Counts, counts: Counts, buckets: int) -> Counts:
    # Sums of integers, exact in float64 up to 2^53.
    return np.bincount(bucket_of, weights=counts, minlength=buckets).astype(np.int64)


_MS = (
    0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 200, 500,
    1_000, 2_000, 5_000, 10_000, 30_000,
)  # fmt: skip

SECONDS = Grid(tuple(ms / 1000 for ms in _MS), lowest=-20, highest=17)
"""From a microsecond to the day and a half that a stream may last."""

SIZES = Grid((1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000), lowest=-1, highest=17)
"""Of batches, in rows or calls."""

TOTALS = Grid((), lowest=0, highest=0)
"""Of what is only known as a count and a sum."""
