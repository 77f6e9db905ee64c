"""Which items each user had, as a sparse matrix: what baselines without an order learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from model_builder.recsys.data import Items


def sets_of(sequences: Sequence[Items], item_count: int) -> scipy.sparse.csr_matrix:
    """Return ``(users, V + 1)`` float32: 1 where an item occurs in the user's sequence."""
    ends = np.cumsum([0, *map(len, sequences)])
    items = np.concatenate([np.empty(0, np.int64), *sequences])
    ones = np.ones(len(items), np.float32)
    rows = scipy.sparse.csr_matrix((ones, items, ends), (len(sequences), item_count + 1))
    rows.sum_duplicates()
    rows.data[:] = 1
    return rows
