"""How Triton runs the cores of a release on a GPU: ``configs/<profile>.pbtxt`` of each.

Triton takes such a file in place of ``config.pbtxt`` where ``--model-config-name`` names it, and
``config.pbtxt`` where a model has no such file. So every other step stays on the CPU, and one
repository serves every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as mc

from model_builder.export.chain import given_to_cores
from model_builder.export.onnx import serialised
from model_builder.export.running import Arrays
from model_builder.export.shapes import (
    Ranges,
    ranges_of,
    ranges_text,
    seen,
    shapes_of,
)
from model_builder.task import StepModel
from model_builder.tensorrt.readiness import readiness
from triton_models.limits import MAX_BATCH_ROWS
from triton_models.plans import ONNX_CUDA, ONNX_TENSORRT, TENSORRT, Plan, Readiness, Shapes
from triton_models.release import NoteSpec

if TYPE_CHECKING:
    from model_builder.proof.recorded import Recorded

PREFERRED_ROWS = (8, 32, 128)
"""Batches that Triton makes of what waits, if it can."""

WARM_UP_ROWS = 32
"""Besides a single row: what a plan is tuned for."""

ENGINES = "/tmp/trident-engines"
"""Where ONNX Runtime keeps the engines that it compiles when a model is first loaded."""

_WORKSPACE_BYTES = 1 << 30
_STRINGS = ("ai.onnx.ml",)


@dataclass(frozen=True)
class Profiles:
    """What is known of the cores of a release, for GPUs."""

    ranges: Ranges
    ready: Mapping[str, Readiness]
    """By core."""
    asked: Mapping[str, Arrays]
    """By core: what recorded questions become when they reach it, each ``(rows, …)``; empty where
    nothing was recorded."""
    plans: tuple[Plan, ...] = ()
    """What was compiled; each file below ``models/``, or below its step's folder."""

    @classmethod
    def of(
        cls,
        line: str,
        steps: Sequence[StepModel],
        recorded: Recorded | None,
        note: NoteSpec | None = None,
        plans: tuple[Plan, ...] = (),
    ) -> Profiles:
        """Look at the cores, and at what reaches them.

        Args:
            line: Of the release.
            steps: All of them, in their order.
            recorded: The test split, of which the golden rows are taken.
            note: How much of a note the release reads, if it reads any.
            plans: What was compiled of them.
        """
        cores = {step.name: step.model for step in steps if step.role == "core"}
        asked: Mapping[str, Arrays] = {}
        if recorded is not None:
            asked = given_to_cores(steps, recorded.batch(recorded.golden())[0])
        ranges = ranges_of(line, None if note is None else note.max_tokens)
        for name, model in cores.items():
            ranges = seen(ranges, model.graph.input, asked.get(name, {}))
        ready = {name: readiness(model, ranges) for name, model in cores.items()}
        return cls(ranges, ready, asked, plans)

    def shapes(self, core: StepModel) -> dict[str, Shapes] | None:
        """Return the sizes that a core is compiled for; ``None`` if TensorRT does not take it."""
        if not self.ready[core.name].ready:
            return None
        return shapes_of(core.model.graph.input, self.ranges)

    def plans_of(self, core: str) -> tuple[Plan, ...]:
        """Return what was compiled of a core."""
        return tuple(plan for plan in self.plans if plan.step == core)

    @property
    def most_rows(self) -> int:
        """The rows that every plan takes."""
        return min((_most_rows(plan) for plan in self.plans), default=MAX_BATCH_ROWS)


def write_core(
    folder: Path, config: mc.ModelConfig, core: StepModel, profiles: Profiles
) -> mc.ModelConfig:
    """Write what GPUs need of a core; return its configuration for any machine.

    Args:
        folder: Of the model, which holds its network already.
        config: As it is for any machine.
        core: The step.
        profiles: What is known of it.
    """
    warm = mc.ModelConfig()
    warm.CopyFrom(config)
    if asked := profiles.asked.get(core.name):
        _write_first_row(folder / "warmup", asked)
        warm.ClearField("model_warmup")
        _warm_up(warm, asked, 1)
    gpu = mc.ModelConfig()
    gpu.CopyFrom(warm)
    if asked:
        _warm_up(gpu, asked, WARM_UP_ROWS)
    _on_gpu(gpu)
    shapes = profiles.shapes(core)
    _write(folder, ONNX_CUDA, onnx_cuda(gpu))
    digest = hashlib.sha256(serialised(core.model)).hexdigest()
    _write(folder, ONNX_TENSORRT, onnx_tensorrt(gpu, shapes, digest))
    if shapes is not None:
        _write(folder, TENSORRT, tensorrt(gpu, profiles.plans_of(core.name)))
    return warm


def write_ensemble(folder: Path, config: mc.ModelConfig, profiles: Profiles) -> None:
    """Write that the whole takes no more rows than its plans, where these take fewer."""
    if profiles.most_rows < config.max_batch_size:
        fewer = mc.ModelConfig()
        fewer.CopyFrom(config)
        fewer.max_batch_size = profiles.most_rows
        _write(folder, TENSORRT, fewer)


def write_fused(folder: Path, config: mc.ModelConfig, fused: onnx.ModelProto) -> None:
    """Write how a fused model runs on a GPU, unless it reads texts, which no GPU does."""
    domains = {one.domain for one in fused.opset_import}
    texts = onnx.TensorProto.STRING
    borders = (*fused.graph.input, *fused.graph.output)
    if domains & set(_STRINGS) or any(v.type.tensor_type.elem_type == texts for v in borders):
        return
    gpu = mc.ModelConfig()
    gpu.CopyFrom(config)
    _on_gpu(gpu)
    _write(folder, ONNX_CUDA, onnx_cuda(gpu))


def onnx_cuda(config: mc.ModelConfig) -> mc.ModelConfig:
    """Return a configuration with which ONNX Runtime computes on the GPU, in FP32 proper."""
    made = mc.ModelConfig()
    made.CopyFrom(config)
    cuda = made.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda")
    # TF32 keeps 10 bits of a factor: the answers would not be those that were proven.
    cuda.parameters["use_tf32"] = "0"
    return made


def onnx_tensorrt(
    config: mc.ModelConfig, shapes: Mapping[str, Shapes] | None, digest: str
) -> mc.ModelConfig:
    """Return a configuration with which ONNX Runtime has TensorRT compile, and keeps the engine.

    Args:
        config: For a GPU.
        shapes: That it is compiled for; ``None``: parts of it are, as requests come.
        digest: Of the network. ONNX Runtime tells engines apart by the names in a graph alone, and
            would give a release the weights of another.
    """
    made = mc.ModelConfig()
    made.CopyFrom(config)
    accelerators = made.optimization.execution_accelerators.gpu_execution_accelerator
    parameters = accelerators.add(name="tensorrt").parameters
    parameters["precision_mode"] = "FP32"
    parameters["max_workspace_size_bytes"] = str(_WORKSPACE_BYTES)
    parameters["trt_engine_cache_enable"] = "1"
    parameters["trt_engine_cache_path"] = ENGINES
    parameters["trt_engine_cache_prefix"] = f"{config.name}-{digest[:16]}"
    parameters["trt_timing_cache_enable"] = "1"
    parameters["trt_timing_cache_path"] = ENGINES
    if shapes is not None:
        for kind, text in ranges_text(shapes).items():
            parameters[f"trt_profile_{kind}_shapes"] = text
    return made


def tensorrt(config: mc.ModelConfig, plans: Sequence[Plan] = ()) -> mc.ModelConfig:
    """Return a configuration with which TensorRT runs a plan.

    Triton chooses among plans by the compute capability of its GPU.

    Args:
        config: For a GPU, of any profile.
        plans: Of the model; none: it names ``model.plan``, which no release has before it is
            compiled.
    """
    made = mc.ModelConfig()
    made.CopyFrom(config)
    made.ClearField("optimization")
    made.backend, made.platform = "tensorrt", "tensorrt_plan"
    made.default_model_filename = "model.plan"
    for plan in plans:
        name = PurePosixPath(plan.file).name
        made.cc_model_filenames[plan.compute_capability] = name
        if plan.hardware_compatible:
            made.default_model_filename = name
        made.max_batch_size = min(made.max_batch_size, _most_rows(plan))
    preferred = [rows for rows in PREFERRED_ROWS if rows <= made.max_batch_size]
    made.dynamic_batching.ClearField("preferred_batch_size")
    made.dynamic_batching.preferred_batch_size.extend(preferred)
    return made


def _write_first_row(folder: Path, asked: Mapping[str, npt.NDArray[np.generic]]) -> None:
    folder.mkdir(parents=True)
    for name, array in asked.items():
        (folder / _file(name)).write_bytes(np.ascontiguousarray(array[0]).tobytes())


def _warm_up(
    config: mc.ModelConfig, asked: Mapping[str, npt.NDArray[np.generic]], rows: int
) -> None:
    """Have Triton run a recorded row so many times at once before the model is ready."""
    warmup = config.model_warmup.add(
        name=f"a recorded row, {rows} at once", batch_size=rows, count=1
    )
    for tensor in config.input:
        warmup.inputs[tensor.name].CopyFrom(
            mc.ModelWarmup.Input(
                data_type=tensor.data_type,
                dims=asked[tensor.name].shape[1:],
                input_data_file=_file(tensor.name),
            )
        )


def _most_rows(plan: Plan) -> int:
    return min((shapes.most[0] for shapes in plan.shapes.values()), default=MAX_BATCH_ROWS)


def _file(tensor: str) -> str:
    return f"{tensor}.bin"


def _on_gpu(config: mc.ModelConfig) -> None:
    config.ClearField("instance_group")
    config.instance_group.add(kind=mc.ModelInstanceGroup.KIND_GPU, count=1)
    config.dynamic_batching.preferred_batch_size.extend(PREFERRED_ROWS)


def _write(folder: Path, profile: str, config: mc.ModelConfig) -> None:
    (folder / "configs").mkdir(exist_ok=True)
    text = text_format.MessageToString(config)
    (folder / "configs" / f"{profile}.pbtxt").write_text(text, encoding="utf-8")
