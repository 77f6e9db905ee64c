"""NVIDIA's ModelOpt itself: networks in other precisions, answered by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnxruntime.quantization import QDQQuantizer
from onnxruntime.quantization.calibrate import CalibraterBase
from torch import nn

from model_builder.export.onnx import export_core, serialised
from model_builder.export.running import Arrays, OnnxModel
from model_builder.tensorrt.compiling import answers_of, served_alike
from model_builder.tensorrt.errors import CompileFailed
from model_builder.tensorrt.modelopt import Order, in_own_process
from model_builder.tensorrt.parity import TOLERANCES, differences
from model_builder.tensorrt.precision import in_precision, is_quantised
from model_builder.variants.quantising import MOST_MOVED, moved_by

WIDTH = 32


class Layers(nn.Module):
    """Three layers, of which the last gives the answer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, third = self.layers
        return third(torch.relu(second(torch.relu(first(x)))))


class Image(nn.Module):
    """Two convolutions and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(seen.mean((2, 3)))


class Attention(nn.Module):
    """Rows of a sequence look at each other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.asks, self.offers, self.gives = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shares = (self.asks(x) @ self.offers(x).transpose(1, 2) / WIDTH**0.5).softmax(-1)
        return self.head(torch.relu(shares @ self.gives(x))[:, 0])


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "layers": (Layers, (WIDTH,)),
    "image": (Image, (1, 12, 12)),
    "attention": (Attention, (6, WIDTH)),
}


def made(kind: str) -> tuple[onnx.ModelProto, Arrays, Arrays]:
    """Return a network, rows that its types are taken from, and others to ask it."""
    build, shape = NETWORKS[kind]
    model = export_core(build().eval(), {"x": torch.zeros(2, *shape)}, ["y"])
    drawn = np.random.default_rng(0).normal(size=(2, 48, *shape)).astype(np.float32)
    return model, {"x": drawn[0]}, {"x": drawn[1]}


def weights_in(model: onnx.ModelProto) -> set[int]:
    return {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1}


def borders(model: onnx.ModelProto) -> list[Any]:
    return [
        (v.name, v.type.tensor_type.elem_type) for v in (*model.graph.input, *model.graph.output)
    ]


def products_after_scales(model: onnx.ModelProto) -> dict[str, bool]:
    """Return of each layer, by name, whether it multiplies what was scaled."""
    makers = {name: node for node in model.graph.node for name in node.output}
    return {
        node.name: any(
            name in makers and makers[name].op_type == "DequantizeLinear" for name in node.input
        )
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm", "Conv")
    }


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(("precision", "stored"), [("fp16", 10), ("bf16", 16)])
def test_casts_halve_the_weights_and_keep_inputs_and_outputs(
    kind: str, precision: Any, stored: int
) -> None:
    model, seen, asked = made(kind)
    typed = in_precision("core", model, precision, seen)
    assert (typed.precision, typed.because) == (precision, "")
    assert weights_in(typed.model) == {stored}
    assert borders(typed.model) == borders(model)
    if precision == "fp16":  # no CPU multiplies in BF16 there
        found = differences(
            OnnxModel(serialised(model)).run(asked), OnnxModel(serialised(typed.model)).run(asked)
        )
        assert found["y"] <= TOLERANCES["fp16"]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_scales_stand_at_layers_that_others_read_and_answers_stay_near(
    kind: str, precision: Any
) -> None:
    model, seen, asked = made(kind)
    typed = in_precision("core", model, precision, seen)
    assert (typed.precision, typed.because) == (precision, "")
    assert is_quantised(typed.model)
    assert borders(typed.model) == borders(model)
    scaled = products_after_scales(typed.model)
    last = [node.name for node in model.graph.node if node.op_type in ("Gemm", "MatMul")][-1]
    assert not scaled[last], "the last layer is the answer"
    # What attention multiplies with itself, and in FP8 a convolution of one channel, stay too.
    left = {"layers": 1, "image": 2 if precision == "fp8" else 1, "attention": 3}
    assert sum(scaled.values()) == len(scaled) - left[kind]
    expected, found = (
        OnnxModel(serialised(each), optimised=False).run(asked) for each in (model, typed.model)
    )
    assert 0 < moved_by(expected, found) <= MOST_MOVED


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_scales_are_those_of_the_rows_that_were_given(precision: Any) -> None:
    model, seen, _ = made("layers")
    small, large = (
        scales_of(in_precision("core", model, precision, {"x": rows}).model)
        for rows in (seen["x"], 10 * seen["x"])
    )
    assert large > 5 * small


def scales_of(model: onnx.ModelProto) -> float:
    """Return the scale of the network's input."""
    (first,) = (
        node
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] == "x"
    )
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    return float(onnx.numpy_helper.to_array(known[first.input[1]]).max())


def test_float_of_8_bits_is_what_fp8_scales_to() -> None:
    model, seen, _ = made("layers")
    typed = in_precision("core", model, "fp8", seen).model
    kinds = {
        tensor.data_type
        for tensor in typed.graph.initializer
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.INT64)
    }
    assert kinds == {TensorProto.FLOAT8E4M3FN}


@pytest.mark.parametrize(
    ("kind", "precision", "alike"),
    [("image", "fp16", True), ("image", "int8", True), ("image", "fp8", False),
     ("layers", "bf16", False)],
)  # fmt: skip
def test_a_network_is_served_without_a_gpu_only_where_a_cpu_answers_as_it_is_meant_to(
    kind: str, precision: Any, alike: bool
) -> None:
    model, seen, asked = made(kind)
    typed = in_precision("core", model, precision, seen)
    meant = answers_of(typed.model, asked, optimised=False)
    if meant is None:
        meant = OnnxModel(serialised(model)).run(asked)
    assert served_alike(typed, asked, meant) is alike


def test_it_leaves_this_process_and_its_output_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(vars(CalibraterBase)), dict(vars(QDQQuantizer))
    model, seen, _ = made("layers")
    assert is_quantised(in_precision("core", model, "int8", seen).model)
    assert (dict(vars(CalibraterBase)), dict(vars(QDQQuantizer))) == before
    assert capfd.readouterr().out == "", "that is for programs"


def test_what_it_cannot_read_is_an_error_of_the_step(tmp_path: Path) -> None:
    source, seen = tmp_path / "network.onnx", tmp_path / "seen.npz"
    source.write_bytes(b"no network")
    np.savez(seen, x=np.zeros((4, WIDTH), np.float32))
    order = Order("core", source, tmp_path / "made.onnx", "fp8", seen, ("node_linear",))
    with pytest.raises(CompileFailed, match=r"(?s)step 'core'.*ModelOpt: \w+: "):
        in_own_process(order)
