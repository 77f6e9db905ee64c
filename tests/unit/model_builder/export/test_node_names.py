"""Whoever reads ONNX Runtime's message about a node knows the step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tiny_releases as tiny

from gateway.triton.errors import failed_step
from model_builder.export.ensemble import write_models
from model_builder.export.node_names import name_after_step
from triton_models.signatures import DIAGNOSE_MEASUREMENTS

BELOW_ZERO = {"numbers": np.array([[-1.0, 0.0]], np.float32)}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    steps = tiny.diagnoser().steps
    write_models(tmp_path, "diagnose-measurements", "r1", steps, DIAGNOSE_MEASUREMENTS)
    return tmp_path


@pytest.mark.parametrize("model", ["work", "fused"])
def test_a_node_that_fails_names_the_step_also_without_the_model(model: str, written: Path) -> None:
    path = written / f"diagnose-measurements__r1__{model}" / "1" / "model.onnx"
    session = ort.InferenceSession(str(path))
    with pytest.raises(Exception, match="out of data bounds") as raised:
        session.run(None, BELOW_ZERO)
    assert "__work" not in str(raised.value)
    assert failed_step(str(raised.value)) == "work"


def test_nodes_are_named_once_and_those_without_a_name_too(written: Path) -> None:
    path = written / "diagnose-measurements__r1__fused" / "1" / "model.onnx"
    names = [node.name for node in onnx.load(path).graph.node]
    assert len(names) == len(set(names))
    assert {name.split("/")[0] for name in names} == {"work", "answer"}
    assert not [name for name in names if name.startswith(("work/work/", "answer/answer/"))]


def test_nodes_within_nodes_are_named_too() -> None:
    work, _ = tiny.diagnoser().steps
    loop = next(node for node in work.model.graph.node if node.op_type == "Loop")
    (body,) = (one.g for one in loop.attribute if one.HasField("g"))
    body.node[0].name = ""
    name_after_step(work.model.graph, "work")
    assert all(node.name.startswith("work/") for node in body.node)
