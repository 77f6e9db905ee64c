"""Large batches are run in blocks, so that what lies between the nodes of a model stays small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from triton_models import row_blocks
from triton_models.row_blocks import (
    ALIKE,
    ALIKE_ROWS,
    FEWEST,
    RowBlocks,
    by_length,
    rows_at_once,
    run_in_blocks,
)

WIDE = 1_000_000


def a_model(path: Path, *nodes: Any, output: tuple[Any, ...] = ("B", 1), rows: Any = "B") -> str:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (rows, 1))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [
            helper.make_tensor("wide", TensorProto.INT64, (2,), [1, WIDE]),
            helper.make_tensor("axis", TensorProto.INT64, (1,), [1]),
            helper.make_tensor("all", TensorProto.INT64, (1,), [0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return str(path)


WIDEN = helper.make_node("Expand", ["x", "wide"], ["between"])
SUM = helper.make_node("ReduceSum", ["between", "axis"], ["y"], keepdims=1)


@pytest.fixture
def wide(tmp_path: Path) -> str:
    """Holds a million numbers for each row while it runs."""
    return a_model(tmp_path / "wide.onnx", WIDEN, SUM)


def test_a_model_that_holds_much_for_a_row_is_asked_few_rows_at_once(
    wide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rows_at_once(wide) == FEWEST
    monkeypatch.setattr(row_blocks, "_MOST_BYTES", 100 * 4 * WIDE)
    assert rows_at_once(wide) == 100


def test_of_a_model_that_says_no_sizes_any_number_is_asked(tmp_path: Path) -> None:
    path = a_model(tmp_path / "model.onnx", helper.make_node("Neg", ["x"], ["y"]))
    assert rows_at_once(path) is None


def test_what_has_no_rows_does_not_count(tmp_path: Path) -> None:
    path = a_model(tmp_path / "model.onnx", WIDEN, SUM, rows=1, output=(1, 1))
    assert rows_at_once(path) is None


def test_what_a_request_shortens_counts_as_whole(tmp_path: Path) -> None:
    cut = [
        helper.make_node("Cast", ["x"], ["numbers"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["numbers"], ["greatest"], keepdims=0),
        helper.make_node("Reshape", ["greatest", "axis"], ["from"]),
        helper.make_node("Slice", ["between", "from", "wide", "axis"], ["short"]),
        helper.make_node("Neg", ["short"], ["again"]),
        helper.make_node("ReduceSum", ["again", "axis"], ["y"], keepdims=1),
    ]
    whole = helper.make_node("Expand", ["x", "wide"], ["between"])
    path = a_model(tmp_path / "model.onnx", whole, *cut)
    model = onnx.load(path)
    row_blocks._leave_whole(model.graph)
    sizes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    assert sizes["short"] == sizes["again"] == [0, WIDE]
    assert rows_at_once(path) == FEWEST


class Noting:
    """Runs a model, and notes how many rows each run had."""

    def __init__(self, model: str | bytes) -> None:
        self._session = ort.InferenceSession(model)
        self._blocks = RowBlocks(model)
        self.runs: list[int] = []

    def __call__(self, x: Any) -> Any:
        (y,) = self._blocks.run(self._run, {"x": x})
        return y

    def _run(self, feeds: Any) -> Any:
        self.runs.append(len(feeds["x"]))
        return self._session.run(["y"], feeds)


@pytest.mark.parametrize("kind", ["a file", "what is in one"])
def test_the_blocks_together_answer_what_the_whole_would(wide: str, kind: str) -> None:
    model = Noting(wide if kind == "a file" else Path(wide).read_bytes())
    x = np.arange(100, dtype=np.float32)[:, None]
    np.testing.assert_allclose(model(x), x * WIDE, rtol=1e-5)
    assert model.runs == [25, 25, 25, 25]


def test_few_rows_are_never_split_and_no_file_is_read_for_them(
    wide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Noting(wide)
    monkeypatch.setattr(onnx, "load", None)
    model(np.ones((FEWEST, 1), np.float32))
    assert model.runs == [FEWEST]


def test_outputs_without_rows_are_run_as_a_whole_and_not_tried_again(tmp_path: Path) -> None:
    total = helper.make_node("ReduceSum", ["between"], ["y"], keepdims=0)
    model = Noting(a_model(tmp_path / "model.onnx", WIDEN, total, output=()))
    x = np.ones((40, 1), np.float32)
    assert model(x) == pytest.approx(40 * WIDE, rel=1e-3)
    model(x)
    assert model.runs == [20, 40, 40]


def test_blocks_of_different_widths_are_not_joined() -> None:
    def run(feeds: Any) -> list[Any]:
        width = int(feeds["x"].max())
        return [np.zeros((len(feeds["x"]), width))]

    assert run_in_blocks(run, {"x": np.array([1, 1, 2, 2])}, 2) is None


NUMBERS = np.array([[0, 0, 0], [1, 2, 3], [0, 0, 4], [0, 5, 6]])
WORDS = np.array([["", ""], ["a", ""], ["", ""], ["b", "c"]], object)


@pytest.mark.parametrize(
    ("inputs", "order"),
    [
        pytest.param([NUMBERS], [0, 2, 3, 1], id="numbers"),
        pytest.param([WORDS], [0, 2, 1, 3], id="texts"),
        pytest.param([NUMBERS, WORDS], [0, 2, 1, 3], id="together"),
    ],
)
def test_the_shortest_row_comes_first(inputs: list[Any], order: list[int]) -> None:
    assert by_length(inputs).tolist() == order


class Lengths:
    """Notes which lengths were run together, and gives each row twice what it holds."""

    def __init__(self, joins: bool = True) -> None:
        self.runs: list[list[int]] = []
        self._joins = joins

    def __call__(self, feeds: Any) -> list[Any]:
        self.runs.append(np.count_nonzero(feeds["x"], axis=1).tolist())
        return [2 * feeds["x"] if self._joins else feeds["x"].sum()]


def rows_of(lengths: list[int]) -> dict[str, Any]:
    x = np.zeros((len(lengths), 40), np.int32)
    for row, length in enumerate(lengths):
        x[row, 40 - length :] = row + 1
    return {"x": x}


def test_rows_of_like_length_are_run_together_where_the_model_says_so() -> None:
    lengths = [30, 1, 29, 2, 28, 3, 27, 4, 26, 5, 25, 6, 24, 7, 23, 8]
    feeds, run = rows_of(lengths), Lengths()
    (y,) = RowBlocks(b"", {ALIKE: "x"}).run(run, feeds)
    assert run.runs == [[1, 2, 3, 4, 5, 6, 7, 8], [23, 24, 25, 26, 27, 28, 29, 30]]
    np.testing.assert_array_equal(y, 2 * feeds["x"])


@pytest.mark.parametrize("metadata", [None, {}, {ALIKE: ""}, {ALIKE: "another"}])
def test_other_models_are_run_at_once(metadata: dict[str, str] | None) -> None:
    run = Lengths()
    RowBlocks(b"", metadata).run(run, rows_of([3] * 16))
    assert len(run.runs) == 1


def test_few_rows_are_not_sorted() -> None:
    run = Lengths()
    RowBlocks(b"", {ALIKE: "x"}).run(run, rows_of([9, 1, *[5] * (ALIKE_ROWS - 2)]))
    assert run.runs == [[9, 1, *[5] * (ALIKE_ROWS - 2)]]


def test_rows_whose_answers_cannot_be_joined_are_run_at_once_and_not_tried_again() -> None:
    run = Lengths(joins=False)
    blocks = RowBlocks(b"", {ALIKE: "x"})
    for _ in range(2):
        blocks.run(run, rows_of([2] * 16))
    assert [len(rows) for rows in run.runs] == [8, 16, 16]
