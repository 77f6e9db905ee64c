from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import spox.opset.ai.onnx.v18 as op
from onnx import TensorProto, helper
from spox import Tensor, argument, build

from triton_models.backends.onnxruntime import sessions as sessions_module
from triton_models.backends.onnxruntime.sessions import Sessions
from triton_models.row_blocks import ALIKE

F32 = np.float32


@pytest.fixture
def path(tmp_path: Path) -> str:
    """``x`` (B, 2) and ``unused`` (B, 1) to ``double``, ``half`` and ``both``, which needs all."""
    x = argument(Tensor(F32, ("B", 2)))
    unused = argument(Tensor(F32, ("B", 1)))
    double, half = op.mul(x, op.const(F32(2))), op.mul(x, op.const(F32(0.5)))
    model = build(
        {"x": x, "unused": unused},
        {"double": double, "half": half, "both": op.add(op.add(double, half), unused)},
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def sessions(path: str, warnings: list[str]) -> Sessions:
    return Sessions(path, ort.SessionOptions, warnings.append)


FEEDS = {"x": np.array([[2, 4]], F32), "unused": np.array([[1]], F32)}


def run(sessions: Sessions, *names: str) -> list[list[list[float]]]:
    return [value.tolist() for value in sessions.run(names, FEEDS)]


def count_runs(sessions: Sessions) -> list[tuple[str, ...]]:
    """The outputs that the whole session is asked for from now on."""
    asked: list[tuple[str, ...]] = []
    whole = sessions._whole.run

    def counted(names: tuple[str, ...], feeds: object) -> object:
        asked.append(tuple(names))
        return whole(names, feeds)

    sessions._whole.run = counted
    return asked


def test_says_what_the_file_takes_and_gives(sessions: Sessions) -> None:
    assert sessions.inputs == {"x": "tensor(float)", "unused": "tensor(float)"}
    assert sessions.outputs == ("double", "half", "both")


def test_all_outputs_come_from_the_whole(sessions: Sessions, warnings: list[str]) -> None:
    assert run(sessions, "double", "half", "both") == [[[4, 8]], [[1, 2]], [[6, 11]]]
    assert sessions._cut == {}


def test_some_outputs_are_answered_before_and_after_the_cut(
    sessions: Sessions, warnings: list[str]
) -> None:
    whole = count_runs(sessions)
    first = run(sessions, "double", "half")
    sessions.wait()
    whole.clear()
    assert run(sessions, "double", "half") == first == [[[4, 8]], [[1, 2]]]
    assert whole == [], "the whole was run, which makes an output that nobody wants"
    assert warnings == []


def test_each_set_of_outputs_is_cut_once(sessions: Sessions) -> None:
    for names in (("double",), ("half",), ("double",)):
        run(sessions, *names)
        sessions.wait()
    assert sessions._cut.keys() == {("double",), ("half",)}
    cut = sessions._cut["double",]
    assert run(sessions, "double") == [[[4, 8]]]
    assert sessions._cut["double",] is cut


def test_outputs_that_need_everything_get_no_session_of_their_own(tmp_path: Path) -> None:
    border = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", 1]) for n in "xyz"]
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["y"], ["z"])]
    graph = helper.make_graph(nodes, "g", border[:1], border[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    sessions = Sessions(str(tmp_path / "model.onnx"), ort.SessionOptions, pytest.fail)
    feeds = {"x": np.ones((1, 1), F32)}
    sessions.run(("z",), feeds)
    sessions.wait()
    assert sessions._cut["z",] is sessions._whole
    assert sessions.run(("z",), feeds)[0].tolist() == [[1]]


def test_no_output_at_all_is_no_reason_to_cut(sessions: Sessions) -> None:
    sessions._cut_to(())
    assert sessions._cutters == {}


def test_there_are_only_so_many_cuts(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "_MOST_CUTS", 1)
    run(sessions, "double")
    assert run(sessions, "half") == [[[1, 2]]]
    sessions.wait()
    assert sessions._cut.keys() == {("double",)}


def test_a_model_that_cannot_be_cut_answers_from_the_whole_and_says_why_once(
    sessions: Sessions, path: str, warnings: list[str]
) -> None:
    Path(path).write_bytes(b"torn")
    for _ in range(3):
        assert run(sessions, "double") == [[[4, 8]]]
        sessions.wait()
    (warning,) = warnings
    assert warning.startswith(f"{path} cannot be cut to double: ")


class NotingOptions(ort.SessionOptions):
    """Options that note which weights a session was given."""

    given: list[tuple[str, ort.OrtValue]]

    def add_initializer(self, name: str, value: ort.OrtValue) -> None:
        self.given.append((name, value))
        super().add_initializer(name, value)


@pytest.mark.parametrize("large", [True, False])
def test_sessions_of_a_large_file_share_its_large_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    weights = np.arange(400_000, dtype=F32).reshape(200_000, 2)
    x, table = argument(Tensor(np.int64, ("B",))), argument(Tensor(F32, weights.shape))
    rows = op.gather(table, x)
    model = build({"x": x, "table": table}, {"rows": rows, "double": op.add(rows, rows)})
    model.graph.input.pop()
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "table"))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    if large:
        monkeypatch.setattr(sessions_module, "SHARED_BYTES", path.stat().st_size)
    given: list[tuple[str, ort.OrtValue]] = []
    monkeypatch.setattr(NotingOptions, "given", given, raising=False)

    sessions = Sessions(str(path), NotingOptions, print)
    feeds = {"x": np.array([7, 0])}
    expected = [[14, 15], [0, 1]]
    for _ in range(2):
        (found,) = sessions.run(("rows",), feeds)
        assert found.tolist() == expected
        sessions.wait()
    assert ("rows",) in sessions._cut
    assert [name for name, _ in given] == (["table", "table"] if large else [])
    assert len({id(value) for _, value in given}) == (1 if large else 0)


def test_what_a_model_says_of_itself_decides_which_rows_are_run_together(path: str) -> None:
    model = onnx.load(path)
    model.metadata_props.add(key=ALIKE, value="unused")
    onnx.save(model, path)
    sessions = Sessions(path, ort.SessionOptions, lambda _: None)
    asked = count_runs(sessions)
    feeds = {"x": np.ones((20, 2), F32), "unused": np.arange(20, dtype=F32)[:, None]}
    *_, both = sessions.run(sessions.outputs, feeds)
    assert len(asked) == 3
    np.testing.assert_array_equal(both[:, 0], 2.5 + np.arange(20))
