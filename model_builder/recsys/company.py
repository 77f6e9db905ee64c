"""Where items lie before training: near those that keep the same company.

The singular vectors of the positive pointwise mutual information of items that stand near each
other in a history: what word2vec approaches by sampling (Levy & Goldberg 2014, *Neural Word
Embedding as Implicit Matrix Factorization*). On a small log it gives the network at once what
it would need many epochs for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.utils.extmath import randomized_svd

from model_builder.recsys.sequences import Items, Sequences

_CONTEXT_POWER = 0.75  # flattens the popularity of the company, as word2vec does
_MOST_INTERACTIONS = 5_000_000
"""Of more, users are drawn: it is a place to start from, and their pairs must fit the memory."""


def company_vectors(
    sequences: Sequence[Items], item_count: int, neighbours: int, width: int, seed: int
) -> npt.NDArray[np.float32]:
    """Return ``(V, D)`` float32; zeros for an item without company.

    Args:
        sequences: Of each user, what is learnt from.
        item_count: ``V``.
        neighbours: How far, before and after, company reaches.
        width: ``D``.
        seed: Of the approximate decomposition, and of the users drawn from a very large log.
    """
    together = _together(_some(Sequences.of(sequences), seed), item_count, neighbours)
    vectors = np.zeros((item_count, width), np.float32)
    rank = min(width, item_count)
    if together.nnz:
        left, _, _ = randomized_svd(_information(together), rank, n_iter=4, random_state=seed)
        vectors[:, :rank] = left
    return vectors


def _some(sequences: Sequences, seed: int) -> Sequences:
    if sequences.total <= _MOST_INTERACTIONS:
        return sequences
    drawn = np.random.default_rng(seed).permutation(len(sequences))
    enough = np.searchsorted(np.cumsum(sequences.lengths[drawn]), _MOST_INTERACTIONS) + 1
    return sequences.chosen(np.sort(drawn[:enough]))


def _together(sequences: Sequences, size: int, neighbours: int) -> scipy.sparse.csr_matrix:
    """Return ``(V, V)``: how often two items stand within ``neighbours`` places."""
    total = scipy.sparse.csr_matrix((size, size), dtype=np.float32)
    items, lengths = sequences.joined() - 1, sequences.lengths
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(items))  # until the user's end
    for gap in range(1, neighbours + 1):
        before = np.flatnonzero(left > gap)
        if not len(before):
            break
        pairs = (items[before], items[before + gap])
        ones = np.ones(len(before), np.float32)
        total = total + scipy.sparse.csr_matrix((ones, pairs), (size, size))
    return total + total.T


def _information(together: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """Return how much more often each pair occurs than by chance: a logarithm, at least 0."""
    pairs = together.tocoo()
    often = np.asarray(together.sum(axis=1)).ravel()
    context = often**_CONTEXT_POWER
    by_chance = often[pairs.row] * context[pairs.col] / context.sum()
    information = np.maximum(np.log(pairs.data / by_chance), 0).astype(np.float32)
    return scipy.sparse.csr_matrix((information, (pairs.row, pairs.col)), together.shape)
