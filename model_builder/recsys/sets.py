"""Which items each user had, as a sparse matrix: what baselines without an order learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from model_builder.recsys.sequences import Items, Sequences


def sets_of(sequences: Sequence[Items], item_count: int) -> scipy.sparse.csr_matrix:
    """Return ``(users, V + 1)`` float32: 1 where an item occurs in the user's sequence."""
    runs = Sequences.of(sequences)
    ends = np.append(0, np.cumsum(runs.lengths))
    items = runs.joined().copy()  # sorted below, in its place
    ones = np.ones(len(items), np.float32)
    rows = scipy.sparse.csr_matrix((ones, items, ends), (len(runs), item_count + 1))
    rows.sum_duplicates()
    rows.data[:] = 1
    return rows
