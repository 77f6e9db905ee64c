"""The models of a release as Triton reads them: the steps, their ensemble, all steps in one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as mc

from model_builder.export.fused import fuse
from model_builder.export.joining import Tensors, joined_tensors, tensors_of
from model_builder.export.node_names import name_after_step
from model_builder.export.onnx import serialised
from model_builder.export.profiles import Profiles, write_core, write_ensemble, write_fused
from model_builder.task import StepModel
from triton_models.release import Tensor, ensemble_name, fused_name, step_name
from triton_models.signatures import ANY, MAX_BATCH_ROWS, Signature


def write_models(
    folder: Path,
    line: str,
    release: str,
    steps: Sequence[StepModel],
    signature: Signature,
    files: Mapping[str, bytes] | None = None,
    profiles: Profiles | None = None,
) -> tuple[Tensors, Tensors]:
    """Write both variants into ``folder`` as a Triton model repository.

    Args:
        folder: Empty.
        line: Of the release.
        release: Its name.
        steps: In their order; their nodes are named after them.
        signature: Of the line.
        files: What else goes with them, by name; it lies with the ensemble, where Triton does
            not look.
        profiles: What GPUs need to know of the cores; ``None``: the release runs on CPUs alone.

    Returns:
        Their inputs and outputs as this release has them, in the signature's order.

    Raises:
        ExportBroken: If the steps do not join up, do not fit ``signature`` or cannot be fused;
            every difference is named, and nothing is written.
    """
    inputs, outputs = joined_tensors(steps, signature)
    for step in steps:
        name_after_step(step.model.graph, step.name)
    fused = fuse(steps, signature)
    for step in steps:
        model = step_name(line, release, step.name)
        config = _write_onnx(folder, model, step.model)
        if step.role == "core" and profiles is not None:
            _write_config(folder / model, write_core(folder / model, config, step, profiles))
    fused_model = fused_name(line, release)
    config = _write_onnx(folder, fused_model, fused)
    if profiles is not None:
        write_fused(folder / fused_model, config, fused)
    name = ensemble_name(line, release)
    version = folder / name / "1"
    version.mkdir(parents=True)
    # Triton wants a version folder even of an ensemble, and a bucket has no empty folders.
    made_of = {"steps": [step_name(line, release, step.name) for step in steps]}
    (version / "ensemble.json").write_text(json.dumps(made_of) + "\n", encoding="utf-8")
    for file_name, content in (files or {}).items():
        (version / file_name).write_bytes(content)
    config = _ensemble_config(name, line, release, steps, inputs, outputs)
    _write_config(folder / name, config)
    if profiles is not None:
        write_ensemble(folder / name, config, profiles)
    return inputs, outputs


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


def _write_onnx(folder: Path, name: str, model: onnx.ModelProto) -> mc.ModelConfig:
    version = folder / name / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(serialised(model))
    config = _onnx_config(name, model.graph)
    _write_config(folder / name, config)
    return config


def _onnx_config(name: str, graph: onnx.GraphProto) -> mc.ModelConfig:
    config = _config(name, tensors_of(graph.input, name), tensors_of(graph.output, name))
    config.backend = "onnxruntime"
    config.instance_group.add(kind=mc.ModelInstanceGroup.KIND_CPU, count=1)
    _add_warmup(config)
    return config


def _add_warmup(config: mc.ModelConfig) -> None:
    """Have Triton run the model once before it is ready: the first run is many times slower."""
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
