from __future__ import annotations

import numpy as np
import pytest

from model_builder.tabular.encoding import fit_encoding
from triton_models.release import FeatureSpec

AGE = FeatureSpec(name="age", kind="number", minimum=0, maximum=99, typical=40)
GRADE = FeatureSpec(name="grade", kind="number", minimum=1, maximum=4, codes=(1, 4), typical=4)
HOME = FeatureSpec(name="home", kind="category", categories=("own", "rent"), typical="rent")


def fit(values, feature=AGE):
    words = np.empty((len(values), 0), object)
    return fit_encoding([feature], np.array(values, np.float32)[:, None], words)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.arange(101), 50 / 1.349),  # the middle half is 25 to 75
        ([40] * 99 + [60], 10),  # the middle half has no width: half of the whole
        ([40, 40, 40], 1),
        ([np.nan, np.nan], 1),
    ],
)
def test_a_quantity_is_scaled_by_its_middle_half(values, scale):
    slot = fit(values).slots[0]
    assert (slot.kind, slot.center) == ("scaled", 40)
    assert slot.scale == pytest.approx(scale)


def test_only_what_was_missing_in_training_has_a_column_for_it():
    assert [slot.kind for slot in fit([1, 2]).slots] == ["scaled"]
    assert [slot.kind for slot in fit([1, np.nan]).slots] == ["scaled", "missing"]


def test_columns_come_by_kind_and_know_their_feature():
    numbers = np.array([[4, 30], [np.nan, 50]], np.float32)
    encoding = fit_encoding([HOME, GRADE, AGE], numbers, np.array([[""], ["own"]], object))
    assert [(slot.kind, slot.feature, slot.value) for slot in encoding.slots] == [
        ("scaled", 2, 0.0),
        ("code", 1, 1),
        ("code", 1, 4),
        ("category", 0, "own"),
        ("category", 0, "rent"),
        ("missing", 0, 0.0),
        ("missing", 1, 0.0),
    ]
    assert encoding.typical.tolist() == [0, 0, 1, 0, 1, 0, 0]
    assert encoding.owners.sum(axis=0).tolist() == [1] * 7
    assert encoding.owners.argmax(axis=0).tolist() == [2, 1, 1, 0, 0, 0, 1]
