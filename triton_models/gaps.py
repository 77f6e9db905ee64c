"""How far two answers are apart, value by value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def gaps(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the absolute differences of numbers, in the shape of both.

    NaN is as far as can be (inf) from every number, and not at all from NaN.
    """
    mine, theirs = one.astype(np.float64), other.astype(np.float64)
    same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    found = np.zeros(mine.shape)
    np.subtract(mine, theirs, out=found, where=~same)
    return np.where(np.isnan(found), np.inf, np.abs(found))
