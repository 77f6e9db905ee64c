from __future__ import annotations

import numpy as np
import pytest

from model_builder.diagnosis.operating import (
    at_sensitivity,
    at_specificity,
    balanced,
    operating_points,
    point_measures,
    told_apart,
)
from model_builder.diagnosis.settings import DiagnosisSettings

DRAWS = np.random.default_rng(3)
TARGET = (DRAWS.random(400) < 0.3).astype(np.int64)
SCORE = 1 / (1 + np.exp(-(DRAWS.normal(size=400) + 2 * TARGET - 1)))
BOTH = np.stack([1 - SCORE, SCORE], 1)
LABELS = ("well", "ill")


def shares(threshold: float) -> tuple[float, float]:
    said = threshold <= SCORE
    return float(said[TARGET == 1].mean()), float((~said)[TARGET == 0].mean())


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95, 0.999])
def test_the_wanted_sensitivity_is_reached_with_no_room_to_spare(wanted: float) -> None:
    threshold = at_sensitivity(TARGET == 1, SCORE, wanted)
    assert shares(threshold)[0] >= wanted
    assert shares(np.nextafter(threshold, 1))[0] < wanted


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95, 0.999])
def test_the_wanted_specificity_is_reached_with_no_room_to_spare(wanted: float) -> None:
    threshold = at_specificity(TARGET == 1, SCORE, wanted)
    assert shares(threshold)[1] >= wanted
    below = SCORE[threshold > SCORE].max()
    assert shares(below)[1] < wanted


def test_a_balanced_point_errs_as_often_one_way_as_the_other() -> None:
    sensitivity, specificity = shares(balanced(TARGET == 1, SCORE))
    assert abs(sensitivity - specificity) < 0.02


def test_of_two_classes_the_second_is_told_from_the_first() -> None:
    assert told_apart(LABELS) == [1]
    assert told_apart(("a", "b", "c")) == [0, 1, 2]
    points = operating_points(TARGET, BOTH, LABELS, DiagnosisSettings())
    assert [(point.label, point.name) for point in points] == [
        ("ill", "balanced"),
        ("ill", "sensitivity 0.95"),
        ("ill", "specificity 0.95"),
    ]


def test_a_class_that_no_row_has_gets_no_point() -> None:
    three = np.full((6, 3), 1 / 3)
    points = operating_points(np.array([0, 1] * 3), three, ("a", "b", "c"), DiagnosisSettings())
    assert {point.label for point in points} == {"a", "b"}


def test_measures_at_a_point_are_those_of_its_threshold() -> None:
    points = operating_points(TARGET, BOTH, LABELS, DiagnosisSettings())
    measures = point_measures(points, LABELS)
    found = [
        measures[f"{what}[ill] at sensitivity 0.95"](TARGET, BOTH)
        for what in ("sensitivity", "specificity")
    ]
    assert found == pytest.approx(shares(points[1].threshold))
    assert np.isnan(measures["sensitivity[ill] at balanced"](np.zeros(3, np.int64), BOTH[:3]))
