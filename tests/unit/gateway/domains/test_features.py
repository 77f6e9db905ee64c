from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifests import manifest

from gateway.domains.features import (
    FeatureMap,
    Value,
    check_features,
    check_values,
    checked_row,
    input_notes,
    plain,
    rows_to_tensors,
)
from gateway.domains.validation import Violations
from trident.common.v1 import input_note_pb2
from trident.common.v1.feature_value_pb2 import FeatureValue
from triton_models import signatures
from triton_models.release import Manifest

RISK = manifest("score-risk")
WHERE = FeatureMap("features", 1, 7)
GOOD: dict[str, Value] = {"age": 40.0, "housing": "own", "status": 2.0}


def complaints(values: dict[str, Value], release: Manifest = RISK) -> dict[str, str]:
    violations = Violations()
    check_values(violations, WHERE, values)
    check_features(violations, WHERE, values, release)
    return violations.found


def test_values_that_fit_the_schema_are_accepted() -> None:
    assert complaints(GOOD) == {}
    assert complaints({"age": 18.0, "amount": None, "purpose": "never seen"}) == {}


@pytest.mark.parametrize(
    ("name", "value", "path", "text"),
    [
        ("agee", 1.0, 'features["agee"]', 'did you mean "age"?'),
        ("zzzz", 1.0, 'features["zzzz"]', "GetModel lists them"),
        ("age", "old", 'features["age"].category', "must be a number"),
        ("housing", 3.0, 'features["housing"].number', "must be a category, got the number 3.0"),
        ("age", math.nan, 'features["age"].number', "must be finite, got nan"),
        ("age", -math.inf, 'features["age"].number', "must be finite, got -inf"),
        ("amount", 1e39, 'features["amount"].number', "must be at most 3.4e+38 in size"),
        ("amount", -1e300, 'features["amount"].number', "must be at most 3.4e+38 in size"),
        ("housing", "", 'features["housing"].category', "must have 1 to 256 characters, got 0"),
        ("purpose", "x" * 257, 'features["purpose"].category', "must have 1 to 256 characters"),
        ("purpose", "a\0", 'features["purpose"].category', "must not hold a NUL"),
        ("housing", "tent", 'features["housing"].category', 'one of "own", "rent", "free", got'),
        ("status", 2.5, 'features["status"].number', "must be one of 1.0, 2.0, 3.0, got 2.5"),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_its_path(
    name: str, value: Value, path: str, text: str
) -> None:
    found = complaints({"age": 40.0} | {name: value})
    assert list(found) == [path]
    assert text in found[path]


def test_a_number_outside_a_range_that_is_refused_is_a_violation() -> None:
    diagnose = manifest("diagnose-measurements")
    found = complaints({"mean radius": 99.0, "smoothness": 1.5}, diagnose)
    assert found == {'features["smoothness"].number': "must be in [0.0, 1.0], got 1.5"}


@pytest.mark.parametrize("values", [{"housing": "own"}, {"housing": "own", "age": None}])
def test_a_required_feature_must_be_there(values: dict[str, Value]) -> None:
    assert complaints(values) == {'features["age"]': "is required, got nothing"}


def test_the_number_of_entries_is_limited() -> None:
    assert list(complaints({})) == ["features", 'features["age"]']
    many: dict[str, Value] = {f"x{place}": 1.0 for place in range(8)}
    assert complaints(many) == {"features": "must have 1 to 7 entries, got 8"}


def test_a_name_too_long_to_quote_is_a_violation_of_the_map() -> None:
    found = complaints({"age": 40.0, "x" * 10**6: 1.0})
    assert found == {"features": "must have names of at most 256 characters, got 1000000"}


def test_a_release_without_features_takes_none() -> None:
    found = complaints({"age": 40.0}, manifest("recommend"))
    (text,) = found.values()
    assert "takes no features" in text


def test_long_lists_of_categories_are_cut() -> None:
    (housing,) = (spec for spec in RISK.features if spec.name == "housing")
    many = housing.model_copy(update={"categories": tuple(f"c{place}" for place in range(20))})
    found = complaints({"housing": "tent"}, manifest("score-risk", features=(many,)))
    assert '"c11" and 8 more, got "tent"' in found['features["housing"].category']


def test_a_feature_value_without_a_kind_is_missing() -> None:
    values = {"a": FeatureValue(number=0.0), "b": FeatureValue(category="x"), "c": FeatureValue()}
    assert plain(values) == {"a": 0.0, "b": "x", "c": None}


def test_features_go_to_their_place_whatever_the_order() -> None:
    rows: list[dict[str, Value]] = [
        {"purpose": "car", "status": 2.0, "age": 40.0},
        {"housing": "für frei", "amount": None},
    ]
    tensors = rows_to_tensors([checked_row(row, RISK) for row in rows], RISK)
    numbers = np.array([[40, np.nan, 2], [np.nan] * 3], np.float32)
    np.testing.assert_array_equal(tensors["numbers"], numbers)
    assert tensors["numbers"].dtype == np.float32
    assert tensors["categories"].tolist() == [[b"", b"car"], ["für frei".encode(), b""]]


def test_a_tensor_without_features_is_not_sent() -> None:
    release = manifest("diagnose-measurements")
    assert set(rows_to_tensors([checked_row({}, release)], release)) == {"numbers"}


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_accepted_number_becomes_infinite(value: float) -> None:
    if not complaints({"age": 40.0, "amount": value}):
        row = checked_row({"amount": value}, RISK)
        assert np.isfinite(rows_to_tensors([row], RISK)["numbers"][0, 1])


def test_rules_come_back_as_notes_in_the_order_of_the_schema() -> None:
    notes = input_notes(np.array([2, 5, 0, 0, 1], np.int32), RISK)
    assert [(note.feature, note.rule) for note in notes] == [
        ("age", input_note_pb2.INPUT_RULE_CLIPPED_TO_MINIMUM),
        ("housing", input_note_pb2.INPUT_RULE_UNKNOWN_AS_MISSING),
        ("purpose", input_note_pb2.INPUT_RULE_IMPUTED),
    ]


def test_the_codes_of_the_rules_are_those_of_the_api() -> None:
    codes = {
        name.removeprefix("RULE_"): code
        for name, code in vars(signatures).items()
        if name.startswith("RULE_")
    }
    api = {
        name.removeprefix("INPUT_RULE_").replace("UNSPECIFIED", "NONE"): code
        for name, code in input_note_pb2.InputRule.items()
    }
    assert codes == api
