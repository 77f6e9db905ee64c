from __future__ import annotations

import numpy as np

from model_builder.recsys.company import company_vectors

TASTES = (range(1, 7), range(7, 13))


def histories(users: int = 60) -> list[np.ndarray]:
    """Each user keeps to one of two groups of six items; nobody has item 13."""
    draws = np.random.default_rng(0)
    return [draws.permutation(TASTES[user % 2]) for user in range(users)]


def cosines(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = vectors / np.maximum(lengths, 1e-12)
    return directions @ directions.T


def test_items_of_the_same_company_lie_near_each_other():
    vectors = company_vectors(histories(), 13, neighbours=2, width=2, seed=0)
    near = cosines(vectors)
    within = np.kron(np.eye(2), np.ones((6, 6))) == 1
    assert near[:12, :12][within].min() > 0.9
    assert np.abs(near[:12, :12][~within]).max() < 0.1


def test_an_item_without_company_stands_nowhere():
    vectors = company_vectors([*histories(), np.array([13])], 13, neighbours=2, width=2, seed=0)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[12], 0, atol=1e-6)
    assert np.linalg.norm(vectors[:12], axis=1).min() > 0.1


def test_only_neighbours_are_company():
    # Everyone has all twelve items, one group after the other.
    draws = np.random.default_rng(1)
    both = [np.concatenate([draws.permutation(taste) for taste in TASTES]) for _ in range(40)]

    def gap(neighbours: int) -> float:
        near = cosines(company_vectors(both, 12, neighbours, width=2, seed=0))
        return float(near[:6, :6].mean() - near[:6, 6:].mean())

    assert gap(2) > 0.9
    assert gap(11) < 0.5


def test_the_width_is_kept_when_the_catalogue_is_smaller():
    vectors = company_vectors([np.array([1, 2, 3])], 3, neighbours=5, width=8, seed=0)
    assert vectors.shape == (3, 8)
    assert not vectors[:, 3:].any()


def test_a_log_in_which_nobody_had_two_items_gives_zeros():
    assert not company_vectors([np.array([1]), np.array([2])], 2, 5, 4, seed=0).any()


def test_the_same_seed_gives_the_same_vectors():
    one, other = (company_vectors(histories(), 13, 2, 4, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, other)
