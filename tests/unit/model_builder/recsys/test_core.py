from __future__ import annotations

import numpy as np
import pytest

from model_builder.recsys.core import k_core


def core(pairs: list[tuple[int, int]], least_items: int, least_users: int):
    users, items = np.array(pairs, np.int32).T
    kept = k_core(users, items, least_items, least_users)
    return [np.flatnonzero(side).tolist() for side in kept]


def test_one_of_each_leaves_everything():
    assert core([(0, 0), (1, 0), (2, 1)], 1, 1) == [[0, 1, 2], [0, 1]]


def test_what_falls_below_because_of_others_is_left_out_too():
    # Item 2 has one user; without it user 2 has one item; without him item 1 has one user.
    pairs = [(0, 0), (0, 3), (1, 0), (1, 3), (2, 1), (2, 2), (3, 0), (3, 1), (3, 3)]
    assert core(pairs, 2, 2) == [[0, 1, 3], [0, 3]]


def test_repeats_count_once():
    assert core([(0, 0), (0, 0), (0, 0), (1, 0), (1, 1)], 2, 1) == [[1], [0, 1]]


def test_everything_may_fall():
    assert core([(0, 0), (1, 1)], 2, 1) == [[], []]


@pytest.mark.parametrize("least", [(1, 3), (3, 1), (3, 3), (5, 2)])
def test_the_core_is_what_leaving_out_one_after_the_other_leaves(least):
    draws = np.random.default_rng(3)
    pairs = {(int(u), int(i)) for u, i in zip(
        draws.geometric(0.05, 400), draws.geometric(0.05, 400), strict=True)}  # fmt: skip
    left = set(pairs)
    while True:
        few = {p for p in left if sum(q[0] == p[0] for q in left) < least[0]
               or sum(q[1] == p[1] for q in left) < least[1]}  # fmt: skip
        if not few:
            break
        left -= few
    users, items = core(sorted(pairs), *least)
    assert left
    assert users == sorted({user for user, _ in left})
    assert items == sorted({item for _, item in left})
