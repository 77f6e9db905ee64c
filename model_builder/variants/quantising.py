"""Networks in 8-bit whole numbers, by ``onnxruntime.quantization``.

Static: weights per channel in signed, activations in unsigned numbers (what VNNI multiplies in one
instruction; two signed ones have none on x86), with ranges seen on rows of the training split, as
pairs of QuantizeLinear and DequantizeLinear (QDQ), which any runtime reads. Dynamic: activations
get their range from the batch at hand, so that rows that travel together move each other.

What stays in float by rule: a step that picks the best of many (TopK), since its order is the
answer; look-ups in tables; layers that no other layer reads, such as a head; of a static product
what it gives, for in a transformer that joins a sum which goes through all of its layers. By search
(static only): the layers that move the answers most, one after the other, until what is left moves
them little enough.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process

from model_builder.errors import CannotDerive
from model_builder.export.onnx import serialised
from model_builder.export.running import Arrays, OnnxModel
from model_builder.variants.roundings import rounded_once
from model_builder.variants.tensors import Known, drop_unused_operators
from triton_models.pruning import leading_to

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators with weights."""
_BESIDE = ("Add", "AveragePool", "Relu")
"""Quantised too where convolutions are: else each would go back to float between them."""
_PRODUCTS = ("Gemm", "MatMul")
"""Their outputs stay in float: ONNX Runtime multiplies 8-bit numbers into floats at no cost."""
MOST_MOVED = 0.1
"""How far quantising may move an output on the calibration rows, as a share of its spread."""


@dataclass(frozen=True)
class Quantised:
    """A network, and what stayed as it was."""

    model: onnx.ModelProto
    layers: int
    """Quantised."""
    in_float: tuple[str, ...]
    """Layers that stay in float by rule."""
    sensitive: tuple[str, ...] = ()
    """Layers that stay in float because they move the answers most."""
    moved: float = 0.0
    """How far the outputs move on the calibration rows, as a share of their spread."""


def layers_of(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """Return the names of the layers that may be quantised, and of those that may not be.

    None may be where the network picks the best of many; nor what no other layer reads.
    """
    known = Known.of(model)
    weighted = [
        node
        for node in model.graph.node
        if node.op_type in LAYERS and any(known.constant(n) is not None for n in node.input[1:2])
    ]
    if any(node.op_type == "TopK" for node in model.graph.node):
        return [], [node.name for node in weighted]
    read = leading_to(model.graph, (name for layer in weighted for name in layer.input))
    may = [layer.name for layer in weighted if read.intersection(layer.output)]
    last = [layer.name for layer in weighted if not read.intersection(layer.output)]
    return may, last


def quantised_statically(model: onnx.ModelProto, batches: Sequence[Arrays]) -> Quantised:
    """Return a network with ranges of these inputs.

    Args:
        model: In float.
        batches: Its inputs for rows of the training split.

    Raises:
        CannotDerive: If no layer can be quantised.
    """
    prepared = _prepared(model)
    layers, in_float = layers_of(prepared)
    if not layers:
        raise CannotDerive("the step", "none of its layers may be quantised")
    expected = _answers(prepared, batches)
    sensitive: list[str] = []
    made = _static(prepared, layers, batches)
    moved = moved_by(expected, _answers(made, batches))
    if moved > MOST_MOVED:
        for name in _by_sensitivity(prepared, layers, batches, expected):
            if len(sensitive) == len(layers) - 1:
                break
            sensitive.append(name)
            left = [layer for layer in layers if layer not in sensitive]
            made = _static(prepared, left, batches)
            moved = moved_by(expected, _answers(made, batches))
            if moved <= MOST_MOVED:
                break
    return Quantised(
        made, len(layers) - len(sensitive), tuple(in_float), tuple(sensitive), round(moved, 4)
    )


def quantised_dynamically(model: onnx.ModelProto) -> Quantised:
    """Return a network whose ranges are taken from each batch.

    Raises:
        CannotDerive: If no layer can be quantised.
    """
    # It would replace Gemm by MatMul, under names that say nothing of which may be quantised.
    plain = ONNXModel(_prepared(model))
    plain.replace_gemm_with_matmul()
    prepared: onnx.ModelProto = plain.model
    layers, in_float = layers_of(prepared)
    if not layers:
        raise CannotDerive("the step", "none of its layers may be quantised")

    def write(given: Path, made: Path) -> None:
        quantize_dynamic(
            given,
            made,
            op_types_to_quantize=list(LAYERS),
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=layers,
        )

    return Quantised(_rewritten(prepared, write), len(layers), tuple(in_float))


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Sequence[Arrays]) -> None:
        self._left: Iterator[Arrays] = iter(batches)

    def get_next(self) -> Arrays | None:
        return next(self._left, None)


def _static(
    model: onnx.ModelProto, layers: Sequence[str], batches: Sequence[Arrays]
) -> onnx.ModelProto:
    """Quantise these layers and no other: not what attention multiplies with itself."""
    known = {node.name: node.op_type for node in model.graph.node}
    kinds = {known[name] for name in layers}
    others = [name for name, kind in known.items() if kind in LAYERS and name not in layers]
    if "Conv" in kinds:
        kinds |= set(_BESIDE)

    def write(given: Path, made: Path) -> None:
        quantize_static(
            given,
            made,
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted(kinds),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=others,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"OpTypesToExcludeOutputQuantization": list(_PRODUCTS)},
        )

    made = _rewritten(model, write)
    rounded_once(made)
    return made


def _by_sensitivity(
    model: onnx.ModelProto,
    layers: Sequence[str],
    batches: Sequence[Arrays],
    expected: Arrays,
) -> list[str]:
    """Return the layers, first the one that alone moves the answers most."""
    some = batches[:2]
    rows = len(next(iter(_answers(model, some).values())))
    wanted = {name: values[:rows] for name, values in expected.items()}
    alone = {}
    for name in layers:
        made = _static(model, [name], some)
        alone[name] = moved_by(wanted, _answers(made, some))
    return sorted(layers, key=lambda name: -alone[name])


def _answers(model: onnx.ModelProto, batches: Sequence[Arrays]) -> Arrays:
    session = OnnxModel(serialised(model))
    parts = [session.run(batch) for batch in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def moved_by(expected: Arrays, actual: Arrays) -> float:
    """Return the root of the mean squared difference over the spread, of the worst output.

    Args:
        expected: By output, of any shape and type; whole numbers and truths are left out.
        actual: The same, of a network that was quantised.
    """
    found = [0.0]
    for name, values in expected.items():
        if values.dtype.kind == "f":
            spread = float(values.std()) or 1.0
            found.append(float(np.sqrt(np.square(values - actual[name]).mean())) / spread)
    return max(found)


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network with all sizes inferred and every node named: what quantising asks for."""

    def write(given: Path, made: Path) -> None:
        quant_pre_process(given, made, skip_symbolic_shape=True)

    prepared = _rewritten(model, write)
    for number, node in enumerate(prepared.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return prepared


def _rewritten(model: onnx.ModelProto, write: Callable[[Path, Path], None]) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="model-builder-quantise-") as folder:
        given, made = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
        given.write_bytes(serialised(model))
        write(given, made)
        found = onnx.load(made)
    drop_unused_operators(found)
    return found
