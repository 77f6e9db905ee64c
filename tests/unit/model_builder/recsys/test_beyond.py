from __future__ import annotations

import numpy as np
import pytest

from model_builder.recsys.beyond import measure_lists, popularity_places
from model_builder.recsys.evaluation import Lists

COUNTS = np.array([0, 16, 4, 4, 1, 0])


def lists(*rows: list[int]) -> Lists:
    items = np.array([row + [0] * (20 - len(row)) for row in rows])
    return Lists(np.ones(len(rows), np.int64), items)


def test_places_say_how_many_others_are_less_popular_and_equals_share():
    assert popularity_places(COUNTS).tolist() == [1.0, 0.625, 0.625, 0.25, 0.0]


def test_coverage_novelty_and_popularity_are_those_of_what_is_shown():
    found = measure_lists(lists([1, 2], [1, 4], [1]), COUNTS, COUNTS, users=16, seed=0)
    assert found["coverage@10"].value == 3 / 5
    # 16 of 16 users had item 1: no surprise; 4 had item 2: 2 bits; 1 had item 4: 4 bits.
    assert found["novelty@10"].value == pytest.approx((1 + 2 + 0) / 3)
    assert found["popularity@10"].value == pytest.approx((1.625 / 2 + 1.25 / 2 + 1) / 3)
    assert found["novelty@10"].low < found["novelty@10"].high


def test_only_what_is_shown_counts():
    long = lists([1] * 10 + [2, 3, 4, 5])
    assert measure_lists(long, COUNTS, COUNTS, 16, 0)["coverage@10"].value == 1 / 5
    empty = measure_lists(lists([], []), COUNTS, COUNTS, 16, 0)
    assert {metric.value for metric in empty.values()} == {0.0}


def test_an_item_that_nobody_had_surprises_like_one_that_a_single_user_had():
    found = measure_lists(lists([5]), COUNTS, COUNTS, 16, 0)
    assert found["novelty@10"].value == 4.0


def test_an_item_that_one_user_had_often_surprises_all_others():
    had_often = np.array([0, 1000, 4, 4, 1, 0])
    havers = np.array([0, 1, 4, 4, 1, 0])
    found = measure_lists(lists([1]), had_often, havers, 1024, 0)
    assert found["novelty@10"].value == 10.0
    assert found["popularity@10"].value == 1.0
