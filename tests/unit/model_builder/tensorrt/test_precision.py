from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import spox
import spox.opset.ai.onnx.v18 as op
from onnx import numpy_helper

from model_builder.tensorrt.errors import CompileFailed, ToolMissing
from model_builder.tensorrt.modelopt import converted
from model_builder.tensorrt.precision import Convert, Typed, in_precision, is_quantised

SEEN = {"x": np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)}


def network(quantised: bool = False, best: bool = False) -> onnx.ModelProto:
    """Two layers, of which the second reads the first."""
    x = spox.argument(spox.Tensor(np.float32, ("B", 2)))
    weights = op.const(np.eye(2, dtype=np.float32))
    value = x
    if quantised:
        scale, zero = op.const(np.float32(0.1)), op.const(np.int8(0))
        value = op.dequantize_linear(op.quantize_linear(x, scale, zero), scale, zero)
    value = op.matmul(op.relu(op.matmul(value, weights)), weights)
    if best:
        value, _ = op.top_k(value, op.const(np.array([1])))
    made = spox.build({"x": x}, {"y": value})
    products = [node for node in made.graph.node if node.op_type == "MatMul"]
    for place, node in enumerate(products):
        node.name = f"product_{place}"
    return made


class FakeModelOpt:
    """ModelOpt's two modules; ``calls`` is what they were told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self._error = error

    def __call__(self, name: str) -> ModuleType:
        modules: dict[str, Any] = {
            "modelopt.onnx.autocast": SimpleNamespace(convert_to_mixed_precision=self._cast),
            "modelopt.onnx.quantization": SimpleNamespace(quantize=self._quantize),
        }
        return modules[name]  # type: ignore[no-any-return]

    def _told(self, given: dict[str, Any]) -> None:
        if self._error is not None:
            raise self._error
        self.calls.append(given)

    def _cast(self, **given: Any) -> onnx.ModelProto:
        self._told(given)
        with np.load(given["calibration_data"]) as file:
            self.calls[-1]["seen"] = dict(file)
        return onnx.load(given["onnx_path"])

    def _quantize(self, **given: Any) -> None:
        self._told(given)
        onnx.save(network(quantised=True), given["output_path"])


def missing(name: str) -> ModuleType:
    raise ModuleNotFoundError(name)


def by(load: Any) -> Convert:
    """Convert in this process, by modules that ``load`` gives."""
    return partial(converted, load=load)


def test_fp32_is_as_it_is_and_needs_nothing() -> None:
    model = network()
    assert in_precision("rank", model, "fp32", {}, by(missing)) == Typed(model, "fp32")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_casts_keep_the_types_of_inputs_and_look_at_real_ones(precision: Any) -> None:
    modelopt = FakeModelOpt()
    made = in_precision("rank", network(), precision, SEEN, by(modelopt))
    (told,) = modelopt.calls
    assert (told["low_precision_type"], told["keep_io_types"]) == (precision, True)
    np.testing.assert_array_equal(told["seen"]["x"], SEEN["x"])
    assert (is_quantised(made.model), made.precision, made.because) == (False, precision, "")


@pytest.mark.parametrize(("precision", "method"), [("int8", "entropy"), ("fp8", "max")])
def test_scales_are_taken_from_the_calibration(precision: Any, method: str) -> None:
    modelopt = FakeModelOpt()
    made = in_precision("rank", network(), precision, SEEN, by(modelopt))
    assert is_quantised(made.model)
    (told,) = modelopt.calls
    assert (told["quantize_mode"], told["calibration_method"]) == (precision, method)
    np.testing.assert_array_equal(told["calibration_data"]["x"], SEEN["x"])
    assert told["calibration_shapes"] == "x:4x2"
    assert told["high_precision_dtype"] == "fp32", "what is not scaled stays what was proven"
    assert told["nodes_to_quantize"] == ["product_0$"], "what no other layer reads is the answer"


def test_a_network_with_scales_of_its_own_is_not_scaled_again() -> None:
    model = network(quantised=True)
    assert is_quantised(model)
    for asked in ("fp32", "int8"):
        assert in_precision("rank", model, asked, {}, by(missing)) == Typed(model, "int8")


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "fp8"])
def test_a_network_that_picks_the_best_of_many_stays_as_it_is(precision: Any) -> None:
    model = network(best=True)
    made = in_precision("rank", model, precision, SEEN, by(missing))
    assert made.model is model
    assert (made.precision, made.because[:17]) == ("fp32", "it picks the best")


def test_a_network_without_layers_that_are_read_is_not_scaled() -> None:
    x = spox.argument(spox.Tensor(np.float32, ("B", 2)))
    model = spox.build({"x": x}, {"y": op.relu(x)})
    made = in_precision("rank", model, "int8", SEEN, by(missing))
    assert made == Typed(model, "fp32", "none of its layers may be scaled")


def test_layers_that_gain_nothing_by_scales_stay_as_they_are() -> None:
    def left(**given: Any) -> None:
        Path(given["output_path"]).write_bytes(Path(given["onnx_path"]).read_bytes())

    model = network()
    load = {"modelopt.onnx.quantization": SimpleNamespace(quantize=left)}
    made = in_precision("rank", model, "int8", SEEN, by(load.__getitem__))
    assert made.model is model
    assert made.because == "ModelOpt finds its layers too small to gain by scales"


def test_scales_that_move_the_answers_too_far_are_left_out() -> None:
    def turned(**given: Any) -> None:
        model = network(quantised=True)
        for node in model.graph.node:
            for each in (each for each in node.attribute if each.name == "value"):
                negative = -numpy_helper.to_array(each.t)
                each.t.CopyFrom(numpy_helper.from_array(negative, each.t.name))
        onnx.save(model, given["output_path"])

    model = network()
    load = {"modelopt.onnx.quantization": SimpleNamespace(quantize=turned)}
    made = in_precision("rank", model, "fp8", SEEN, by(load.__getitem__))
    assert made.model is model
    assert made.because == "in fp8 its answers would move by 1.4 of their spread, 0.1 is allowed"


def test_without_modelopt_it_says_what_to_install() -> None:
    with pytest.raises(ToolMissing, match=r"fp16 needs ModelOpt.*trident\[tensorrt\]"):
        in_precision("rank", network(), "fp16", SEEN, by(missing))


def test_what_modelopt_cannot_convert_is_an_error_of_the_step() -> None:
    with pytest.raises(CompileFailed, match=r"step 'rank'.*\n.*ModelOpt: RuntimeError: no such op"):
        in_precision("rank", network(), "fp16", SEEN, by(FakeModelOpt(RuntimeError("no such\nop"))))


def test_a_single_number_may_not_be_far_off_either() -> None:
    rows = {"x": np.ones((400, 2), np.float32)}
    rows["x"][:200] = 0
    rows["x"][0] = 0.5  # a rule that only this row meets

    def rule(**given: Any) -> None:
        x = spox.argument(spox.Tensor(np.float32, ("B", 2)))
        scale, zero = op.const(np.float32(1)), op.const(np.int8(0))
        value = op.dequantize_linear(op.quantize_linear(x, scale, zero), scale, zero)
        onnx.save(spox.build({"x": x}, {"y": op.relu(value)}), given["output_path"])

    model = network()
    load = {"modelopt.onnx.quantization": SimpleNamespace(quantize=rule)}
    made = in_precision("score", model, "int8", rows, by(load.__getitem__))
    assert made.model is model
    assert made.because == "in int8 a number of 'y' would be off by 0.5, 0.2 is allowed"
