"""A baseline: what those had who had the newest items too.

The similarity of two items is the cosine of the sets of users who had them (Sarwar et al. 2001,
*Item-based Collaborative Filtering Recommendation Algorithms*); an item's score is the sum of
its similarities to the newest items of a history. How many of those count is chosen on the
validation split, so that the network is held against the baseline at its best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse

from model_builder.recsys.data import MAX_HISTORY, Items
from model_builder.recsys.sets import sets_of

NEWEST = (1, 3, 10, 30, MAX_HISTORY)
"""How many items of a history may count."""

TAKEN_WHOLE = 12_000
"""Items of which all pairs are held: 0.6 GB."""


class ItemNeighbours:
    """Scores items by their similarity to a history's newest."""

    def __init__(self, sequences: Sequence[Items], item_count: int) -> None:
        """Take what is learnt from, and the size of the catalogue, ``V``."""
        had = sets_of(sequences, item_count)
        users = np.maximum(np.asarray(had.sum(axis=0)).ravel(), 1)
        self._directions = scipy.sparse.csr_matrix(had.multiply(1 / np.sqrt(users)))
        self._item_count = item_count
        # All pairs at once are fastest, and of a large catalogue do not fit a small memory.
        whole = item_count <= TAKEN_WHOLE
        self._similarity = (self._directions.T @ self._directions).toarray() if whole else None

    def scores(self, histories: Sequence[Items], newest: int) -> npt.NDArray[np.floating]:
        """Return ``(Q, V + 1)``; 0 for items that no user had together with these."""
        past = sets_of([items[-newest:] for items in histories], self._item_count)
        if self._similarity is not None:
            return np.asarray(past @ self._similarity)
        return np.asarray(((past @ self._directions.T) @ self._directions).todense())
