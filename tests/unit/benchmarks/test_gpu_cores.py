from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spox
import spox.opset.ai.onnx.v18 as op
from google.protobuf import text_format
from toy_release import publish
from tritonclient.grpc import model_config_pb2 as mc

from benchmarks.gpu_cores import CUDA, measured, placed, proved, provider_of, providers_of
from model_builder.export.onnx import serialised
from model_builder.export.profiles import onnx_cuda
from model_builder.export.running import CPU
from model_builder.opened_release import opened_release
from triton_models.store import ReleaseStore


def test_options_of_the_provider_are_those_that_triton_is_told() -> None:
    text = text_format.MessageToString(onnx_cuda(mc.ModelConfig(name="score")))
    assert provider_of(text) == (CUDA, {"use_tf32": "0"})


def test_nodes_are_counted_by_what_computes_them() -> None:
    x = spox.argument(spox.Tensor(np.float32, ("B", 2)))
    model = spox.build({"x": x}, {"y": op.exp(op.softmax(x))})
    asked = {"x": np.ones((3, 2), np.float32)}
    assert placed(serialised(model), [CPU], asked) == {CPU: 2}


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "store")


def test_a_release_that_answers_as_recorded_is_proven_and_timed(store: ReleaseStore) -> None:
    publish(store, "r1")
    with opened_release(store, "score-risk", "r1") as opened:
        assert providers_of(opened) == {"score": ((CUDA, {"use_tf32": "0"}), CPU)}
        on_cpu = {"score": (CPU,)}
        found = proved(opened, on_cpu, most=20)
        assert (found.rows, found.fault) == (20, "")
        assert set(found.largest) == {"default_probability", "score", "contributions"}
        assert found.placed["score"].keys() == {CPU}
        times = list(measured(opened, on_cpu, ["fp32"], samples=3))
    assert [one.rows for one in times] == [1, 8, 32, 128]
    assert all(one.cpu_ms > 0 and one.gpu_ms > 0 for one in times)
    assert all(far == 0 for one in times for far in one.difference.values())


def test_a_release_that_answers_otherwise_says_what_is_off(store: ReleaseStore) -> None:
    def spoil(model) -> None:
        for tensor in model.graph.initializer:
            if tensor.data_type == 1:
                values = np.frombuffer(tensor.raw_data, np.float32) * np.float32(1.5)
                tensor.raw_data = values.tobytes()

    publish(store, "r1", change_onnx={"score": spoil})
    with opened_release(store, "score-risk", "r1") as opened:
        found = proved(opened, {"score": (CPU,)}, most=20)
    assert "onnx-cuda" in found.fault
    assert "more than its tolerance" in found.fault
