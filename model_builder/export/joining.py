"""Whether the steps of a release join up, and which tensors cross the border of the whole.

An input of a step is taken from the earlier step that gives it, else from the ensemble's
inputs. So every tensor has one maker, and the order of the steps is the order of the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from model_builder.errors import ExportBroken
from model_builder.task import StepModel
from triton_models.release import FUSED, Tensor
from triton_models.signatures import ANY, Signature, TensorSpec

Tensors = tuple[Tensor, ...]

_DATA_TYPES = {
    onnx.TensorProto.BOOL: "BOOL",
    onnx.TensorProto.UINT8: "UINT8",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.FLOAT16: "FP16",
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.DOUBLE: "FP64",
    onnx.TensorProto.STRING: "BYTES",
}


def tensors_of(values: Sequence[onnx.ValueInfoProto], step: str) -> Tensors:
    """Return the tensors of a graph's border without their batch axis.

    Raises:
        ExportBroken: If Triton could not batch one of them.
    """
    tensors = []
    for value in values:
        of = value.type.tensor_type
        if of.elem_type not in _DATA_TYPES:
            raise ExportBroken(f"step '{step}': tensor '{value.name}' has an unknown data type")
        dims = [dim.dim_value if dim.HasField("dim_value") else ANY for dim in of.shape.dim]
        if len(dims) < 2 or dims[0] != ANY:
            raise ExportBroken(
                f"step '{step}': tensor '{value.name}' must have a varying batch axis "
                f"and at least one more, found {dims}"
            )
        tensors.append(
            Tensor(name=value.name, data_type=_DATA_TYPES[of.elem_type], dims=tuple(dims[1:]))
        )
    return tuple(tensors)


def joined_tensors(steps: Sequence[StepModel], signature: Signature) -> tuple[Tensors, Tensors]:
    """Return the inputs and outputs of all steps together, in the signature's order.

    Raises:
        ExportBroken: If the steps do not join up, or do not fit ``signature``; every
            difference is named.
    """
    made: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}
    faults = [
        f"step '{step.name}' is called like a variant" for step in steps if step.name == FUSED
    ]
    for step in steps:
        for tensor in tensors_of(step.model.graph.input, step.name):
            known = made.get(tensor.name) or wanted.setdefault(tensor.name, tensor)
            if not _fits(known, tensor):
                faults.append(
                    f"step '{step.name}' takes '{tensor.name}' as {_text(tensor)}, "
                    f"found {_text(known)}"
                )
        for tensor in tensors_of(step.model.graph.output, step.name):
            if tensor.name in made or tensor.name in wanted:
                faults.append(f"step '{step.name}' makes '{tensor.name}', which exists already")
            made[tensor.name] = tensor
    faults += _differences("input", signature.inputs, wanted)
    faults += _differences("output", signature.outputs, made)
    declared = {spec.name for spec in signature.inputs}
    faults += [
        f"input '{name}' is made by no earlier step and is not declared"
        for name in wanted
        if name not in declared
    ]
    if faults:
        raise ExportBroken(
            f"the steps do not make an ensemble for line '{signature.line}': " + "; ".join(faults)
        )
    return (
        tuple(wanted[spec.name] for spec in signature.inputs if spec.name in wanted),
        tuple(made[spec.name] for spec in signature.outputs if spec.name in made),
    )


def _differences(
    kind: str, declared: Sequence[TensorSpec], found: Mapping[str, Tensor]
) -> list[str]:
    faults = []
    for spec in declared:
        tensor = found.get(spec.name)
        want = Tensor(name=spec.name, data_type=spec.data_type, dims=spec.dims)
        if tensor is None:
            if not spec.optional:
                faults.append(f"{kind} '{spec.name}' {_text(want)} is missing")
        elif not _fits(tensor, want, strict=True):
            faults.append(f"{kind} '{spec.name}' must be {_text(want)}, found {_text(tensor)}")
    return faults


def _fits(given: Tensor, wanted: Tensor, *, strict: bool = False) -> bool:
    """Whether ``given`` may stand where ``wanted`` is; ``strict``: a fixed size must be known."""
    return (
        given.data_type == wanted.data_type
        and len(given.dims) == len(wanted.dims)
        and all(
            want in (ANY, size) or (size == ANY and not strict)
            for size, want in zip(given.dims, wanted.dims, strict=True)
        )
    )


def _text(tensor: Tensor) -> str:
    return f"{tensor.data_type}{list(tensor.dims)}"
