from __future__ import annotations

import numpy as np
import pytest

from model_builder.diagnosis.review import error_bound, review_rule, review_threshold
from model_builder.diagnosis.settings import DiagnosisSettings


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


def test_a_stated_coverage_is_answered_whatever_its_accuracy():
    probabilities, target = rows([0.95, 0.9, 0.8, 0.7, 0.6], [False] * 5)
    settings = DiagnosisSettings(review_coverage=0.6)
    assert review_rule(probabilities, target, settings) == 0.8
    assert review_rule(probabilities, target, DiagnosisSettings(review_coverage=1.0)) == 0.6


def test_without_a_coverage_the_accuracy_decides():
    probabilities, target = rows([0.95, 0.9, 0.8, 0.7, 0.6], [True, True, True, False, False])
    assert review_rule(probabilities, target, DiagnosisSettings()) == 0.8


@pytest.mark.parametrize(
    ("wrong", "answered", "bound"), [(0, 59, 0.05), (0, 299, 0.01), (10, 10, 1.0)]
)
def test_the_bound_on_the_error_is_clopper_and_pearsons(wrong, answered, bound):
    """Of none wrong among 59, the bound is 5 %: 0.95 ** 59 is just below 0.05."""
    assert error_bound(wrong, answered) == pytest.approx(bound, abs=0.0005)
