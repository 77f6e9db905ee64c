"""Quantities cut into pieces, and special codes beside them: numpy and the graph."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from model_builder.tabular.encoding import Encoding, fit_encoding
from model_builder.tabular.preparation import prepare
from model_builder.tabular.prepare_graph import prepare_graph
from triton_models.release import FeatureSpec

SCORE = FeatureSpec(
    name="score",
    kind="number",
    minimum=0,
    maximum=40,
    typical=20.0,
    unknown_rule="clip",
    special_codes={-9.0: "no record", 99.0: "exempt"},
    monotonic="decreasing",
)


def encoding(typical: float = 20.0) -> Encoding:
    values = np.array([*range(41), -9, -9, 99], np.float32)[:, None]
    feature = SCORE.model_copy(update={"typical": typical})
    return fit_encoding([feature], values, np.empty((len(values), 0), object), pieces=4)


def columns(made: Encoding, *values: float) -> np.ndarray:
    """Return the columns of some values by numpy, once the graph has agreed."""
    numbers = np.array(values, np.float32)[:, None]
    inputs, rules = prepare(made, numbers, np.empty((len(values), 0), object))
    session = ort.InferenceSession(prepare_graph(made).SerializeToString())
    answer = session.run(["inputs", "input_rules"], {"numbers": numbers})
    np.testing.assert_allclose(answer[0], inputs, atol=1e-6)
    np.testing.assert_array_equal(answer[1], rules)
    return inputs


def test_pieces_fill_up_one_after_the_other():
    made = encoding()
    assert [slot.kind for slot in made.slots] == ["scaled", *["piece"] * 4, "code", "code"]
    filled = columns(made, 0, 5, 10, 25, 40, 41, -5)[:, 1:5]
    np.testing.assert_allclose(
        filled,
        [
            [0, 0, 0, 0],
            [0.5, 0, 0, 0],
            [1, 0, 0, 0],
            [1, 1, 0.5, 0],
            [1, 1, 1, 1],
            [1, 1, 1, 1],
            [0, 0, 0, 0],
        ],
    )


def test_a_special_code_has_its_column_and_the_quantity_its_minimum():
    made = encoding()
    lowest, coded, exempt = columns(made, 0, -9, 99)
    np.testing.assert_array_equal(lowest[:5], coded[:5])
    assert coded[5:].tolist() == [1, 0]
    assert exempt[5:].tolist() == [0, 1]


@pytest.mark.parametrize("typical", [20.0, -9.0], ids=["a value", "a code"])
def test_the_typical_row_is_what_the_typical_value_becomes(typical):
    made = encoding(typical)
    np.testing.assert_allclose(made.typical, columns(made, typical)[0], atol=1e-6)


def test_only_what_lies_on_the_scale_has_the_sign_of_the_schema():
    assert encoding().signs.tolist() == [-1, -1, -1, -1, -1, 0, 0]


def test_two_values_need_no_pieces():
    values = np.array([[0.0], [40.0]], np.float32)
    made = fit_encoding([SCORE], values, np.empty((2, 0), object), pieces=4)
    assert "piece" not in {slot.kind for slot in made.slots}
