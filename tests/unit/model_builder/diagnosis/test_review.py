from __future__ import annotations

import numpy as np

from model_builder.diagnosis.review import review_threshold


def rows(surest: list[float], right: list[bool]):
    probabilities = np.array([[1 - p, p] for p in surest])
    return probabilities, np.array([int(good) for good in right])


def threshold(surest, right, wanted=0.99, least=0.5):
    return review_threshold(*rows(surest, right), wanted_accuracy=wanted, least_answered=least)


def test_as_much_is_answered_as_is_right_often_enough():
    assert threshold([0.95, 0.9, 0.8, 0.7, 0.6], [True, True, True, False, False]) == 0.8


def test_all_is_answered_if_all_is_right():
    assert threshold([0.9, 0.8, 0.55], [True, True, True]) == 0.55


def test_a_mistake_among_the_surest_is_made_up_for_by_those_below():
    assert threshold([0.9, 0.8, 0.7, 0.6], [False, True, True, True], wanted=0.75) == 0.6


def test_the_floor_is_answered_even_if_it_is_not_right_often_enough():
    assert threshold([0.9, 0.8, 0.7, 0.6], [False, False, True, True]) == 0.8


def test_equal_probabilities_are_answered_together():
    assert threshold([0.9, 0.7, 0.7, 0.6], [True, True, False, False], least=0.25) == 0.9


def test_the_row_at_the_threshold_is_answered_in_single_precision():
    found = threshold([0.9, 0.76543219], [True, True])
    assert found == 0.7654
    assert np.float32(0.76543219) >= found
