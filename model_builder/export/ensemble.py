"""Steps joined by tensor names into an ensemble: as Triton models, and in this process.

An input of a step is taken from the earlier step that gives it, else from the ensemble's
inputs. So every tensor has one maker, and the order of the steps is the order of the work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnxruntime as ort
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as mc

from model_builder.errors import ExportBroken
from model_builder.export.onnx import serialised
from model_builder.task import StepModel
from triton_models.release import Tensor, ensemble_name, step_name
from triton_models.signatures import ANY, MAX_BATCH_ROWS, Signature, TensorSpec

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

Tensors = tuple[Tensor, ...]


def write_models(
    folder: Path, line: str, release: str, steps: Sequence[StepModel], signature: Signature
) -> tuple[Tensors, Tensors]:
    """Write the ensemble and its steps into ``folder`` as a Triton model repository.

    Returns:
        The ensemble's inputs and outputs as this release has them, in the signature's order.

    Raises:
        ExportBroken: If the steps do not join up, or do not fit ``signature``; every
            difference is named, and nothing is written.
    """
    inputs, outputs = _ensemble_tensors(steps, signature)
    for step in steps:
        name = step_name(line, release, step.name)
        version = folder / name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(serialised(step.model))
        _write_config(folder / name, _step_config(name, step))
    name = ensemble_name(line, release)
    version = folder / name / "1"
    version.mkdir(parents=True)
    # Triton wants a version folder even of an ensemble, and a bucket has no empty folders.
    made_of = {"steps": [step_name(line, release, step.name) for step in steps]}
    (version / "ensemble.json").write_text(json.dumps(made_of) + "\n", encoding="utf-8")
    _write_config(folder / name, _ensemble_config(name, line, release, steps, inputs, outputs))
    return inputs, outputs


class StepChain:
    """The steps of an ensemble, run one after the other by ONNX Runtime on the CPU."""

    def __init__(self, steps: Sequence[StepModel]) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._sessions = [
            ort.InferenceSession(
                serialised(step.model), options, providers=["CPUExecutionProvider"]
            )
            for step in steps
        ]

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return every tensor that a step gave, by name; strings as object arrays of ``str``.

        Args:
            inputs: The ensemble's, each ``(B, …)``; strings as object arrays of ``str``.
        """
        tensors = dict(inputs)
        made: dict[str, npt.NDArray[Any]] = {}
        for session in self._sessions:
            names = [output.name for output in session.get_outputs()]
            feeds = {given.name: tensors[given.name] for given in session.get_inputs()}
            made |= zip(names, session.run(names, feeds), strict=True)
            tensors |= made
        return made


def run_steps(
    steps: Sequence[StepModel], inputs: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Return every tensor that the chained steps give; :class:`StepChain` for many calls."""
    return StepChain(steps).run(inputs)


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


def _ensemble_tensors(steps: Sequence[StepModel], signature: Signature) -> tuple[Tensors, Tensors]:
    made: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}
    faults: list[str] = []
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


def _config(name: str, inputs: Tensors, outputs: Tensors) -> mc.ModelConfig:
    return mc.ModelConfig(
        name=name,
        max_batch_size=MAX_BATCH_ROWS,
        input=[mc.ModelInput(name=t.name, data_type=_triton_type(t), dims=t.dims) for t in inputs],
        output=[
            mc.ModelOutput(name=t.name, data_type=_triton_type(t), dims=t.dims) for t in outputs
        ],
    )


def _triton_type(tensor: Tensor) -> int:
    # Everywhere but in its configuration, Triton says BYTES for a string.
    name = "STRING" if tensor.data_type == "BYTES" else tensor.data_type
    return int(mc.DataType.Value(f"TYPE_{name}"))


def _step_config(name: str, step: StepModel) -> mc.ModelConfig:
    graph = step.model.graph
    config = _config(name, tensors_of(graph.input, step.name), tensors_of(graph.output, step.name))
    config.backend = "onnxruntime"
    config.instance_group.add(kind=mc.ModelInstanceGroup.KIND_CPU, count=1)
    _add_warmup(config)
    return config


def _add_warmup(config: mc.ModelConfig) -> None:
    """Have Triton run the step once before it is ready: the first run is many times slower."""
    warmup = config.model_warmup.add(name="one row of nothing", batch_size=1, count=1)
    for tensor in config.input:
        warmup.inputs[tensor.name].CopyFrom(
            mc.ModelWarmup.Input(
                data_type=tensor.data_type,
                dims=[1 if size == ANY else size for size in tensor.dims],
                zero_data=True,
            )
        )


def _ensemble_config(
    name: str,
    line: str,
    release: str,
    steps: Sequence[StepModel],
    inputs: Tensors,
    outputs: Tensors,
) -> mc.ModelConfig:
    config = _config(name, inputs, outputs)
    config.platform = "ensemble"
    used = {tensor.name for tensor in outputs}
    used |= {value.name for step in steps for value in step.model.graph.input}
    for step in steps:
        config.ensemble_scheduling.step.add(
            model_name=step_name(line, release, step.name),
            model_version=-1,
            input_map={value.name: value.name for value in step.model.graph.input},
            output_map={v.name: v.name for v in step.model.graph.output if v.name in used},
        )
    return config


def _write_config(folder: Path, config: mc.ModelConfig) -> None:
    text = text_format.MessageToString(config)
    (folder / "config.pbtxt").write_text(text, encoding="utf-8")
