"""A baseline: matrix factorisation of who had what, by the library ``implicit``.

Alternating least squares for implicit feedback (Hu, Koren & Volinsky 2008,
doi:10.1109/ICDM.2008.22). Users are placed by the history that is asked with, so that nobody's
newest items are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from model_builder.recsys.data import Items
from model_builder.recsys.sets import sets_of

FACTORS = (32, 64, 128)
"""Of these the validation split chooses the length of the vectors."""

_REGULARISATION = 0.05
_ALPHA = 2.0
_ITERATIONS = 15


class Factors:
    """Scores items by their vectors' products with that of a history."""

    def __init__(
        self, sequences: Sequence[Items], item_count: int, factors: int, seed: int
    ) -> None:
        """Take what is learnt from, the size of the catalogue, the vectors' length, the seed."""
        from implicit.cpu.als import AlternatingLeastSquares

        self._item_count = item_count
        with threadpool_limits(1, "blas"):  # the library has threads of its own, and says so
            self._model = AlternatingLeastSquares(
                factors=factors,
                regularization=_REGULARISATION,
                alpha=_ALPHA,
                iterations=_ITERATIONS,
                num_threads=torch.get_num_threads(),
                random_state=seed,
            )
            self._model.fit(sets_of(sequences, item_count), show_progress=False)

    def scores(self, histories: Sequence[Items]) -> npt.NDArray[np.float32]:
        """Return ``(Q, V + 1)`` float32."""
        with threadpool_limits(1, "blas"):
            past = sets_of(histories, self._item_count)
            users = self._model.recalculate_user(np.arange(len(histories)), past)
        return np.asarray(users @ self._model.item_factors.T)
