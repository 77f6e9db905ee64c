"""A baseline: EASE, a linear model whose weights are found at once (Steck 2019, arXiv:1905.03375).

It predicts each item from all others by ridge regression, and is hard to beat without an order.
With ``X`` users times items, all it needs is the inverse of ``XᵀX + λ``; where there are fewer
users than items, that of ``XXᵀ + λ`` says the same (Woodbury). What a user had scores as it likes:
it is not recommended.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse

from model_builder.recsys.data import Items
from model_builder.recsys.sets import sets_of

LARGEST = 12_000
"""Users or items, whichever are fewer: the square of that many floats is 0.6 GB."""

PENALTIES = (30.0, 100.0, 300.0, 1000.0)
"""Of these the validation split chooses ``λ``."""

_COLUMNS = 2000
"""Items at once where a matrix of all users times all items would not fit."""


def fits(users: int, items: int) -> bool:
    """Say whether the model can be found in a small memory."""
    return min(users, items) <= LARGEST


class Together:
    """What was had together: the same for every ``λ``."""

    def __init__(self, sequences: Sequence[Items], item_count: int) -> None:
        """Take what is learnt from, and the size of the catalogue, ``V``."""
        self.item_count = item_count
        self.had = sets_of(sequences, item_count)
        self.by_user = self.had.shape[0] < self.had.shape[1]
        pairs = self.had @ self.had.T if self.by_user else self.had.T @ self.had
        self.pairs: npt.NDArray[np.float32] = pairs.toarray()


class Ease:
    """Scores items by what they were had together with, all weighed against each other."""

    def __init__(self, together: Together, penalty: float) -> None:
        """Take what is learnt from, and ``λ``."""
        self._item_count = together.item_count
        self._had = together.had
        self._by_user = together.by_user
        penalised = together.pairs.copy(order="F")  # so that LAPACK needs no copy of its own
        penalised[np.diag_indices_from(penalised)] += penalty
        self._inverse = _inverse(penalised)
        self._own = self._diagonal(penalty)
        self._penalty = penalty

    def scores(self, histories: Sequence[Items]) -> npt.NDArray[np.floating]:
        """Return ``(Q, V + 1)``."""
        past = sets_of(histories, self._item_count)
        if not self._by_user:
            return -(past @ self._inverse) / self._own
        alike = (past @ self._had.T) @ self._inverse  # (Q, users)
        predicted = np.asarray(self._had.T.dot(alike.T).T)
        return predicted / (self._penalty * self._own)

    def _diagonal(self, penalty: float) -> npt.NDArray[np.float32]:
        """Return ``(V + 1,)``: the diagonal of the inverse of ``XᵀX + λ``."""
        if not self._by_user:
            return np.diag(self._inverse).copy()
        columns = self._had.tocsc()
        parts = []
        for start in range(0, columns.shape[1], _COLUMNS):
            part = columns[:, start : start + _COLUMNS]
            solved = np.asarray((part.T @ self._inverse).T)  # (users, columns)
            parts.append(np.asarray(part.multiply(solved).sum(axis=0)).ravel())
        return ((1 - np.concatenate(parts)) / penalty).astype(np.float32)


def _inverse(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the inverse of a symmetric positive matrix, which is used up."""
    factor, _ = scipy.linalg.lapack.spotrf(matrix, lower=1, overwrite_a=1)
    inverse, _ = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    return np.tril(inverse) + np.tril(inverse, -1).T
