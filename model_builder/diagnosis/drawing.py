"""Draws the rows that are held out of a data set that does not say itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def stratified(
    target: npt.NDArray[np.int64], share: float, seed: int, keys: list[bytes]
) -> npt.NDArray[np.bool_]:
    """Return ``(rows,)``, which rows are held out: a share of each class, at least one.

    Args:
        target: The class of each row.
        share: To hold out.
        seed: Of the draw.
        keys: Rows of one key are held out together.
    """
    draws = np.random.default_rng(seed)
    held = np.zeros(len(target), np.bool_)
    chosen: set[bytes] = set()
    for k in np.unique(target):
        rows = draws.permutation(np.flatnonzero(target == k))
        chosen.update(keys[row] for row in rows[: max(1, round(share * len(rows)))])
    held[:] = [key in chosen for key in keys]
    return held
