from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import spox
import spox.opset.ai.onnx.v18 as op

from model_builder.tensorrt.errors import CompileFailed, ToolMissing
from model_builder.tensorrt.precision import in_precision, is_quantised

SEEN = {"x": np.ones((4, 2), np.float32)}


def network(quantised: bool = False) -> onnx.ModelProto:
    x = spox.argument(spox.Tensor(np.float32, ("B", 2)))
    value = x
    if quantised:
        scale, zero = op.const(np.float32(0.1)), op.const(np.int8(0))
        value = op.dequantize_linear(op.quantize_linear(x, scale, zero), scale, zero)
    return spox.build({"x": x}, {"y": op.relu(value)})


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
        Path(given["output_path"]).write_bytes(Path(given["onnx_path"]).read_bytes())


def missing(name: str) -> ModuleType:
    raise ModuleNotFoundError(name)


def test_fp32_is_as_it_is_and_needs_nothing() -> None:
    model = network()
    assert in_precision("rank", model, "fp32", {}, missing) is model


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_casts_keep_the_types_of_inputs_and_look_at_real_ones(precision: Any) -> None:
    modelopt = FakeModelOpt()
    made = in_precision("rank", network(), precision, SEEN, modelopt)
    (told,) = modelopt.calls
    assert (told["low_precision_type"], told["keep_io_types"]) == (precision, True)
    np.testing.assert_array_equal(told["seen"]["x"], SEEN["x"])
    assert made.graph.node[0].op_type == "Relu"


@pytest.mark.parametrize(("precision", "method"), [("int8", "entropy"), ("fp8", "max")])
def test_scales_are_taken_from_the_calibration(precision: Any, method: str) -> None:
    modelopt = FakeModelOpt()
    in_precision("rank", network(), precision, SEEN, modelopt)
    (told,) = modelopt.calls
    assert (told["quantize_mode"], told["calibration_method"]) == (precision, method)
    assert told["calibration_data"] == SEEN
    assert told["high_precision_dtype"] == "fp32", "what is not scaled stays what was proven"


def test_a_network_with_scales_of_its_own_is_not_scaled_again() -> None:
    model = network(quantised=True)
    assert is_quantised(model)
    assert in_precision("rank", model, "int8", {}, missing) is model


def test_without_modelopt_it_says_what_to_install() -> None:
    with pytest.raises(ToolMissing, match=r"fp16 needs ModelOpt.*trident\[tensorrt\]"):
        in_precision("rank", network(), "fp16", SEEN, missing)


def test_what_modelopt_cannot_convert_is_an_error_of_the_step() -> None:
    with pytest.raises(CompileFailed, match=r"step 'rank'.*\n.*ModelOpt: no such op"):
        in_precision("rank", network(), "fp16", SEEN, FakeModelOpt(RuntimeError("no such\nop")))
