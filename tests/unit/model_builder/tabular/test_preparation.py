"""The rules, each on its own, and numpy against the exported graph on anything."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model_builder.tabular.encoding import Encoding, fit_encoding
from model_builder.tabular.preparation import prepare
from model_builder.tabular.prepare_graph import prepare_graph
from triton_models import signatures as codes
from triton_models.signatures import (
    RULE_CLIPPED_TO_MAXIMUM,
    RULE_CLIPPED_TO_MINIMUM,
    RULE_IMPUTED,
    RULE_NONE,
    RULE_OUT_OF_RANGE_AS_MISSING,
    RULE_UNKNOWN_AS_MISSING,
)

NAN = float("nan")
TYPICAL = {"numbers": [30.0, 2.0, 40.0], "categories": ["own", "x"]}
WORDS = ("", "own", "rent", "none", "été", "x", "Own", " own", "?")


@pytest.fixture(scope="module")
def encoding(features) -> Encoding:
    """``amount`` and ``housing`` were missing in training, the others never."""
    numbers = np.array([[10, 1, 18], [NAN, 2, 40], [30, 4, 50], [90.5, 2, 75]], np.float32)
    categories = np.array([["own", "none"], ["", "x"], ["rent", "été"], ["own", "x"]], object)
    return fit_encoding(features, numbers, categories)


class Both:
    """Runs numpy and the graph, and insists that they agree."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.session = ort.InferenceSession(prepare_graph(encoding).SerializeToString())

    def __call__(self, numbers, categories):
        numbers = np.asarray(numbers, np.float32)
        categories = np.asarray(categories, object)
        inputs, rules = prepare(self.encoding, numbers, categories)
        feeds = {"numbers": numbers, "categories": categories}
        made = self.session.run(["inputs", "input_rules"], feeds)
        np.testing.assert_array_equal(made[1], rules)
        np.testing.assert_allclose(made[0], inputs, atol=1e-6, rtol=0)
        return inputs, rules


@pytest.fixture(scope="module")
def both(encoding) -> Both:
    return Both(encoding)


def ask(both, name, value):
    """Return input and rules of a row that is typical but for one feature."""
    row = {kind: list(values) for kind, values in TYPICAL.items()}
    place = {"amount": 0, "grade": 1, "age": 2, "housing": 0, "job": 1}[name]
    row["categories" if isinstance(value, str) else "numbers"][place] = value
    inputs, rules = both([row["numbers"]], [row["categories"]])
    names = [feature.name for feature in both.encoding.features]
    return inputs[0], rules[0, names.index(name)]


@pytest.mark.parametrize(
    ("name", "value", "seen_as", "rule"),
    [
        ("amount", 50.0, 50.0, RULE_NONE),
        ("amount", 10.0, 10.0, RULE_NONE),
        ("amount", 9.0, 10.0, RULE_CLIPPED_TO_MINIMUM),
        ("amount", 1e30, 90.5, RULE_CLIPPED_TO_MAXIMUM),
        ("age", NAN, 40.0, RULE_IMPUTED),
        ("age", 17.0, 40.0, RULE_OUT_OF_RANGE_AS_MISSING),
        ("age", 76.0, 40.0, RULE_OUT_OF_RANGE_AS_MISSING),
        ("grade", 4.0, 4.0, RULE_NONE),
        ("grade", 3.0, 2.0, RULE_UNKNOWN_AS_MISSING),
        ("grade", 99.0, 2.0, RULE_UNKNOWN_AS_MISSING),
        ("grade", NAN, 2.0, RULE_IMPUTED),
        ("job", "été", "été", RULE_NONE),
        ("job", "", "x", RULE_IMPUTED),
        ("job", "pilot", "x", RULE_UNKNOWN_AS_MISSING),
    ],
)
def test_each_rule_fires_and_the_network_sees_the_right_value(both, name, value, seen_as, rule):
    inputs, fired = ask(both, name, value)
    expected, nothing = ask(both, name, seen_as)

    assert fired == rule
    assert nothing == RULE_NONE
    np.testing.assert_array_equal(inputs, expected)


def test_every_rule_that_is_declared_is_tested_here():
    declared = {value for name, value in vars(codes).items() if name.startswith("RULE_")}
    assert declared - {codes.RULE_TRUNCATED} == {0, 1, 2, 3, 4, 5}  # that one is of notes


def test_a_typical_row_is_the_typical_input(both):
    inputs, rules = both([TYPICAL["numbers"]], [TYPICAL["categories"]])
    np.testing.assert_array_equal(inputs[0], both.encoding.typical)
    assert not rules.any()


@pytest.mark.parametrize(("name", "value"), [("amount", NAN), ("housing", ""), ("housing", "flat")])
def test_a_feature_that_was_missing_in_training_says_so(both, name, value):
    inputs, _ = ask(both, name, value)
    marks = [d for d, slot in enumerate(both.encoding.slots) if slot.kind == "missing"]
    owners = [both.encoding.features[both.encoding.slots[d].feature].name for d in marks]

    assert owners == ["housing", "amount"]
    assert inputs[marks[owners.index(name)]] == 1
    assert inputs[marks].sum() == 1


def test_a_clipped_number_does_not_count_as_missing(both):
    inputs, _ = ask(both, "amount", 1e6)
    assert inputs[-2:].sum() == 0


def test_scaled_numbers_keep_their_order_and_stay_in_bounds(encoding):
    numbers = np.tile(np.array(TYPICAL["numbers"], np.float32), (50, 1))
    numbers[:, 0] = np.linspace(10, 90.5, 50)
    inputs, _ = prepare(
        encoding, numbers, np.tile(np.array(TYPICAL["categories"], object), (50, 1))
    )
    assert (np.diff(inputs[:, 0]) > 0).all()
    assert np.abs(inputs[:, 0]).max() < 3


def test_each_column_belongs_to_one_feature(encoding):
    assert (encoding.owners.sum(axis=0) == 1).all()
    assert encoding.owners.any(axis=1).all()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    hnp.arrays(
        np.float32,
        (3, 3),
        elements=st.one_of(
            st.floats(width=32),
            st.sampled_from([NAN, 1.0, 2.0, 3.0, 4.0, 10.0, 18.0, 75.0, 90.5]).map(np.float32),
        ),
    ),
    st.lists(
        st.tuples(*[st.one_of(st.sampled_from(WORDS), st.text(max_size=5))] * 2),
        min_size=3,
        max_size=3,
    ),
)
def test_numpy_and_the_graph_agree_on_anything(both, numbers, categories):
    # A NUL ends a string on its way into ONNX Runtime.
    words = np.array([[word.replace("\0", "") for word in row] for row in categories], object)
    inputs, rules = both(numbers, words)
    assert np.isfinite(inputs).all()
    assert ((rules >= 0) & (rules <= 5)).all()


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_schema_of_one_kind_has_one_input(features, kind):
    some = tuple(feature for feature in features if feature.kind == kind)
    rows = 4
    numbers = np.array([TYPICAL["numbers"]] * rows, np.float32)[:, : 3 * (kind == "number")]
    words = np.array([TYPICAL["categories"]] * rows, object)[:, : 2 * (kind == "category")]
    graph = prepare_graph(fit_encoding(some, numbers, words))

    assert [value.name for value in graph.graph.input] == [
        "numbers" if kind == "number" else "categories"
    ]
    feeds = {"numbers": numbers} if kind == "number" else {"categories": words}
    inputs, rules = ort.InferenceSession(graph.SerializeToString()).run(None, feeds)
    assert len(inputs) == rows
    assert not rules.any()
