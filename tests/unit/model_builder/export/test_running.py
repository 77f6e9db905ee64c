from __future__ import annotations

import numpy as np
import pytest
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, argument, build

from model_builder.export.onnx import serialised
from model_builder.export.running import Arrays, OnnxModel, run_in_parts
from triton_models.row_blocks import ALIKE
from triton_models.signatures import MAX_BATCH_ROWS


@pytest.fixture(scope="module")
def content() -> bytes:
    x = argument(Tensor(np.float32, ("N", 2)))
    return serialised(build({"x": x}, {"twice": op.add(x, x), "same": op.identity(x)}))


def test_a_model_gives_all_outputs_or_those_that_are_asked_for(content: bytes) -> None:
    x = np.array([[1, 2]], np.float32)
    model = OnnxModel(content)
    assert model.inputs == ["x"]
    assert {name: out.tolist() for name, out in model.run({"x": x}).items()} == {
        "twice": [[2, 4]],
        "same": [[1, 2]],
    }
    assert list(OnnxModel(content, ["same"]).run({"x": x})) == ["same"]


def test_more_rows_than_a_call_may_carry_are_run_in_parts(content: bytes) -> None:
    model, sizes = OnnxModel(content), []

    class Counted:
        def run(self, inputs) -> Arrays:
            sizes.append(len(inputs["x"]))
            return model.run(inputs)

    x = np.arange(2 * (2 * MAX_BATCH_ROWS + 3), dtype=np.float32).reshape(-1, 2)
    made = run_in_parts(Counted(), {"x": x})
    assert sizes == [MAX_BATCH_ROWS, MAX_BATCH_ROWS, 3]
    np.testing.assert_array_equal(made["twice"], 2 * x)
    np.testing.assert_array_equal(made["same"], x)


def test_fewer_rows_at_once_and_only_some_outputs_can_be_asked_for(content: bytes) -> None:
    model, sizes = OnnxModel(content), []

    class Counted:
        def run(self, inputs) -> Arrays:
            sizes.append(len(inputs["x"]))
            return model.run(inputs)

    x = np.arange(10, dtype=np.float32).reshape(-1, 2)
    made = run_in_parts(Counted(), {"x": x}, 2, ["same", "missing"])
    assert sizes == [2, 2, 1]
    assert list(made) == ["same"]
    np.testing.assert_array_equal(made["same"], x)


def test_a_model_that_says_so_has_rows_of_like_length_run_together() -> None:
    x = argument(Tensor(np.float32, ("B", 2)))
    together = op.expand(op.shape(x, start=0, end=1), op.shape(x))
    model = build({"x": x}, {"together": together})
    rows = {"x": np.ones((20, 2), np.float32)}
    assert OnnxModel(serialised(model)).run(rows)["together"].max() == 20
    model.metadata_props.add(key=ALIKE, value="x")
    assert OnnxModel(serialised(model)).run(rows)["together"].max() == 7
