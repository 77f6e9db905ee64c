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

from model_builder.evaluation.metrics import ndcg_at
from model_builder.recsys.data import MAX_HISTORY, Items, Questions, Splits
from model_builder.recsys.evaluation import Ranks, rank_of

NEWEST = (1, 3, 10, 30, MAX_HISTORY)
"""How many items of a history may count."""

_ROWS = 500
"""Scored at once."""


class ItemNeighbours:
    """Scores items by their similarity to a history's newest."""

    def __init__(self, sequences: Sequence[Items], item_count: int) -> None:
        """Take what is learnt from, and the size of the catalogue, ``V``."""
        had = _set_rows(sequences, item_count + 1)
        users = np.maximum(np.asarray(had.sum(axis=0)).ravel(), 1)
        # Its transpose times itself would be the similarities; so many do not fit a small memory.
        self._directions = scipy.sparse.csr_matrix(had.multiply(1 / np.sqrt(users)))

    def scores(self, histories: Sequence[Items], newest: int) -> npt.NDArray[np.float64]:
        """Return ``(rows, V + 1)``; 0 for items that no user had together with these."""
        past = _set_rows([items[-newest:] for items in histories], self._directions.shape[1])
        return np.asarray(((past @ self._directions.T) @ self._directions).todense())


def item_knn_ranks(splits: Splits, item_count: int) -> dict[str, Ranks]:
    """Return the ranks of the targets, by split: ``validation`` and ``test``."""
    neighbours = ItemNeighbours(splits.training, item_count)
    validation = {newest: _ranks(neighbours, splits.validation, newest) for newest in NEWEST}
    best = max(NEWEST, key=lambda newest: ndcg_at(validation[newest], 10))
    return {"validation": validation[best], "test": _ranks(neighbours, splits.test, best)}


def _ranks(neighbours: ItemNeighbours, questions: Questions, newest: int) -> Ranks:
    found: list[int] = []
    for start in range(0, len(questions), _ROWS):
        histories = questions.histories[start : start + _ROWS]
        targets = questions.targets[start : start + _ROWS].tolist()
        scores = neighbours.scores(histories, newest)
        found += map(rank_of, scores, histories, targets)
    return np.array(found, np.int64)


def _set_rows(sequences: Sequence[Items], width: int) -> scipy.sparse.csr_matrix:
    """Return ``(rows, width)``: 1 where an item occurs in the row's sequence."""
    items = [np.unique(sequence) for sequence in sequences]
    ends = np.cumsum([0, *map(len, items)])
    columns = np.concatenate(items) if items else np.empty(0, np.int64)
    return scipy.sparse.csr_matrix((np.ones(len(columns)), columns, ends), (len(sequences), width))
