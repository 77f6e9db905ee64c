"""A network in another precision, as TensorRT wants it: said by the types in the ONNX file.

TensorRT 11 knows no other way, and TensorRT 10 is used so too. NVIDIA's ModelOpt writes such
files: casts for FP16 and BF16, scales (Q/DQ) for INT8 and FP8.

What stays in FP32 by rule: a network that picks the best of many, since its order is the answer (in
FP16 on an H200 every fourth place had another item, and it took as long). Scaled are layers with
weights that another layer reads, as for a CPU; and if the answers still move too far, none is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnx

from model_builder.export.onnx import serialised
from model_builder.export.running import OnnxModel
from model_builder.tensorrt.modelopt import CAST, SCALED, Order, in_own_process
from model_builder.tensorrt.parity import differences
from model_builder.variants.quantising import MOST_MOVED, layers_of, moved_by
from triton_models.plans import Precision

MOST_OFF = 0.2
"""How far scales may move any single number, as a share of the largest of its output: a score may
hold while one reason for it is another."""

Inputs = Mapping[str, npt.NDArray[np.generic]]
Convert = Callable[[Order], None]


@dataclass(frozen=True)
class Typed:
    """A network, and what it computes in."""

    model: onnx.ModelProto
    precision: Precision
    because: str = ""
    """Why it is not what was asked for; empty if it is."""


def is_quantised(model: onnx.ModelProto) -> bool:
    """Return whether a network says scales itself."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def in_precision(
    step: str,
    model: onnx.ModelProto,
    precision: Precision,
    calibration: Inputs,
    convert: Convert = in_own_process,
) -> Typed:
    """Return a network whose types say what it computes in; its inputs and outputs stay.

    Args:
        step: Its name.
        model: In FP32.
        precision: Wanted.
        calibration: By input, ``(rows, …)``: what scales are taken from; of FP16 and BF16, what
            shows which nodes must stay in FP32.
        convert: Has ModelOpt write a network.

    Raises:
        ToolMissing: If ModelOpt is not installed.
        CompileFailed: If it cannot convert the network.
    """
    if is_quantised(model) and precision in ("fp32", "int8"):
        return Typed(model, "int8")
    if precision == "fp32":
        return Typed(model, "fp32")
    if any(node.op_type == "TopK" for node in model.graph.node):
        return Typed(model, "fp32", "it picks the best of many, and their order is its answer")
    layers = layers_of(model)[0]
    if precision in SCALED and not layers:
        return Typed(model, "fp32", "none of its layers may be scaled")
    with TemporaryDirectory(prefix="trident-modelopt-") as scratch:
        folder = Path(scratch)
        names = "network.onnx", "converted.onnx", "seen.npz"
        source, target, seen = (folder / name for name in names)
        source.write_bytes(serialised(model))
        np.savez(seen, **calibration)
        convert(Order(step, source, target, precision, seen, tuple(layers)))
        made = onnx.load(target)
    if precision in CAST:
        return Typed(made, precision)
    if not is_quantised(made):
        return Typed(model, "fp32", "ModelOpt finds its layers too small to gain by scales")
    because = _too_far(model, made, calibration)
    if because:
        return Typed(model, "fp32", f"in {precision} {because}")
    return Typed(made, precision)


def _too_far(model: onnx.ModelProto, made: onnx.ModelProto, seen: Inputs) -> str:
    """Return how a network with scales answers too far from the one without; empty if not."""
    # ONNX Runtime's optimiser computes some such networks wrongly, and others not at all.
    expected, actual = (
        OnnxModel(serialised(each), optimised=False).run(seen) for each in (model, made)
    )
    moved = moved_by(expected, actual)
    if moved > MOST_MOVED:
        return f"its answers would move by {moved:.2g} of their spread, {MOST_MOVED} is allowed"
    for name, off in differences(expected, actual).items():
        if off > MOST_OFF:
            return f"a number of '{name}' would be off by {off:.2g}, {MOST_OFF} is allowed"
    return ""
