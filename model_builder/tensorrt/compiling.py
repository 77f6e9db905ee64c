"""From a release to one with plans: what changes, compiled and compared on this GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import onnx

from model_builder.child_release import Change
from model_builder.export.chain import given_to_cores
from model_builder.export.onnx import serialised
from model_builder.export.profiles import Profiles
from model_builder.export.running import Arrays, OnnxModel
from model_builder.export.shapes import BATCH, shapes_of
from model_builder.opened_release import Opened
from model_builder.progress import Progress
from model_builder.proof.recorded import CALIBRATION, from_parquet
from model_builder.task import StepModel
from model_builder.tensorrt.compiled import Compiled, Compiler
from model_builder.tensorrt.errors import CannotCompile
from model_builder.tensorrt.machine import Gpu
from model_builder.tensorrt.modelopt import SCALED
from model_builder.tensorrt.options import CompileOptions
from model_builder.tensorrt.parity import TOLERANCES, check_plan, differences
from model_builder.tensorrt.precision import Typed, in_precision, is_quantised
from triton_models.plans import Plan, architecture, plan_file
from triton_models.release import rows_of_triton


def compiled(
    parent: Opened,
    options: CompileOptions,
    compiler: Compiler,
    gpu: Gpu,
    progress: Progress,
) -> Change:
    """Return what a child with plans has that its parent has not.

    Args:
        parent: The release.
        options: What is asked of the plans.
        compiler: Makes and runs them.
        gpu: That they are made on.
        progress: Shows the parts.

    Raises:
        CannotCompile: If the release is not one for this; names every reason.
        ToolMissing: If a precision needs what is not installed.
        CompileFailed: If a core does not become a plan.
        PlanDiffers: If a plan answers otherwise than its network.
    """
    profiles = Profiles.of(
        parent.manifest.line, parent.steps, parent.recorded, parent.manifest.note
    )
    cores = [
        step for step in parent.steps if step.role == "core" and profiles.ready[step.name].ready
    ]
    check(parent, cores, profiles, options)
    calibration = _calibration(parent, options)
    profiles = replace(profiles, ranges={**profiles.ranges, BATCH: options.batch})
    made = []
    with progress.stage("compile", len(cores)) as stage:
        for core in cores:
            work = _Work(core, profiles, options, calibration.get(core.name, {}))
            made.append(work.done(compiler, gpu))
            stage.advance(note=core.name)
    networks = {one.step: one.network for one in made if one.network is not None}
    kept = dict(_kept(parent, gpu)) if not networks else {}
    return Change(
        variant=f"tensorrt-{options.precision}",
        precision=options.precision,
        how=_how(gpu, compiler, made, options),
        steps=networks,
        files={
            one.step: {
                f"1/{one.plan_name}": one.compiled.content,
                **{
                    f"1/{PurePosixPath(plan.file).name}": content
                    for plan, content in kept.values()
                    if plan.step == one.step
                },
            }
            for one in made
        },
        plans=(*(plan for plan, _ in kept.values()), *(one.plan for one in made)),
        details={
            "not_compiled": {
                name: list(found.because)
                for name, found in profiles.ready.items()
                if not found.ready
            },
            "kept_in_fp32": {one.step: one.because for one in made if one.because},
        },
    )


def check(
    parent: Opened, cores: list[StepModel], profiles: Profiles, options: CompileOptions
) -> None:
    """Refuse what cannot become of a release, before anything takes long.

    Raises:
        CannotCompile: With every reason.
    """
    reasons = []
    if not cores:
        reasons += [
            f"step '{name}': {reason}"
            for name, found in profiles.ready.items()
            for reason in found.because
        ] or ["it has no core"]
    least = rows_of_triton(parent.manifest)
    if options.batch.most < least:
        reasons.append(
            f"--max-batch must be at least {least}, which one call may carry, got "
            f"{options.batch.most}"
        )
    bare = [core.name for core in cores if not is_quantised(core.model)]
    rows = options.calibration is not None or CALIBRATION in parent.reports
    if options.precision in SCALED and bare and not rows:
        reasons.append(
            f"--precision {options.precision} needs --calibration, by which {', '.join(bare)} can "
            "be scaled: the release was built before rows of the training split were kept"
        )
    if reasons:
        raise CannotCompile(parent.name, reasons)


@dataclass(frozen=True)
class _Made:
    """A core that was compiled."""

    step: str
    network: onnx.ModelProto | None
    """What stands in place of the parent's; ``None``: nothing does."""
    compiled: Compiled
    plan: Plan
    because: str
    """Why it computes in another precision than was asked for; empty if it does not."""

    @property
    def plan_name(self) -> str:
        return PurePosixPath(self.plan.file).name


@dataclass(frozen=True)
class _Work:
    """A core that is to be compiled."""

    core: StepModel
    profiles: Profiles
    options: CompileOptions
    calibration: Arrays

    def done(self, compiler: Compiler, gpu: Gpu) -> _Made:
        """Compile it, and compare its answers to the recorded questions."""
        name, options = self.core.name, self.options
        asked = self._asked()
        typed = in_precision(name, self.core.model, options.precision, self.calibration or asked)
        content = serialised(typed.model)
        shapes = shapes_of(self.core.model.graph.input, self.profiles.ranges)
        plan = compiler.compile(name, content, shapes, options)
        answers = answers_of(typed.model, asked, optimised=False)
        if answers is None:  # no CPU computes in this precision
            answers = OnnxModel(serialised(self.core.model)).run(asked)
        found = compiler.run(name, plan, asked, options)
        difference = check_plan(name, answers, found, typed.precision, options.tolerance)
        another = typed.model is not self.core.model
        network = typed.model if another and served_alike(typed, asked, answers) else None
        file = plan_file(gpu.compute_capability, plan.tensorrt)
        return _Made(
            name,
            network,
            plan,
            Plan(
                step=name,
                file=f"1/{file}",
                compute_capability=gpu.compute_capability,
                gpu=gpu.name,
                tensorrt=plan.tensorrt,
                precision=typed.precision,
                hardware_compatible=options.hardware_compatible,
                version_compatible=options.version_compatible,
                compiled_by=compiler.kind,
                shapes=shapes,
                difference=difference,
            ),
            typed.because,
        )

    def _asked(self) -> Arrays:
        """Return the recorded questions as the core gets them, so many as the plan takes."""
        asked = self.profiles.asked[self.core.name]
        return {name: array[: self.options.batch.most] for name, array in asked.items()}


def answers_of(model: onnx.ModelProto, asked: Arrays, *, optimised: bool = True) -> Arrays | None:
    """Return what a network answers on the CPU; ``None`` if ONNX Runtime cannot compute it there.

    There is no CPU kernel for most operators in BF16, for instance.
    """
    try:
        return OnnxModel(serialised(model), optimised=optimised).run(asked)
    except Exception:  # ONNX Runtime's own have no common root
        return None


def served_alike(typed: Typed, asked: Arrays, answers: Arrays) -> bool:
    """Return whether a Triton without a GPU would answer with a network as it is meant to.

    ONNX Runtime's optimiser, which Triton leaves on, makes other numbers of convolutions with FP8
    scales, and takes some products with INT8 scales for ones that it then cannot compute.

    Args:
        typed: The network.
        asked: Its inputs, each ``(rows, …)``.
        answers: What it is meant to answer to them.
    """
    served = answers_of(typed.model, asked)
    if served is None:
        return False
    allowed = TOLERANCES[typed.precision]
    return all(far <= allowed for far in differences(answers, served).values())


def _calibration(parent: Opened, options: CompileOptions) -> dict[str, Arrays]:
    """Return what of the training split reaches each core, by its name; empty if none is needed.

    Raises:
        CannotCompile: If the file lacks an input of the release.
    """
    tensors = _training_rows(parent, options)
    return given_to_cores(parent.steps, tensors) if tensors else {}


def _training_rows(parent: Opened, options: CompileOptions) -> Arrays:
    """Return the inputs of the release that are given, else those that it kept."""
    if options.precision == "fp32":
        return {}
    if options.calibration is None:
        content = parent.reports.get(CALIBRATION)
        if content is None:
            return {}
        kept = from_parquet(content)
        return kept.batch(np.arange(kept.rows))[0]
    with np.load(options.calibration, allow_pickle=False) as file:
        # numpy cannot keep objects without pickling; texts come as its own kind.
        tensors: Arrays = {
            name: array.astype(object) if array.dtype.kind == "U" else array
            for name, array in file.items()
        }
    wanted = {tensor.name for tensor in parent.manifest.inputs}
    if missing := sorted(wanted - tensors.keys()):
        reason = f"{options.calibration} lacks {', '.join(missing)}"
        raise CannotCompile(parent.name, [reason])
    return tensors


def _kept(parent: Opened, gpu: Gpu) -> Iterator[tuple[str, tuple[Plan, bytes]]]:
    """Return the parent's plans for other GPUs, by their files; its networks are the child's."""
    for plan in parent.manifest.plans:
        if plan.compute_capability != gpu.compute_capability:
            name = PurePosixPath(plan.file).name
            content = (parent.models / plan.file).read_bytes()
            yield plan.file, (plan.model_copy(update={"file": f"1/{name}"}), content)


def _how(gpu: Gpu, compiler: Compiler, made: list[_Made], options: CompileOptions) -> str:
    names = ", ".join(one.step for one in made)
    worst = max((far for one in made for far in one.plan.difference.values()), default=0.0)
    version = made[0].compiled.tensorrt
    return (
        f"{names} compiled to {options.precision} by TensorRT {version} ({compiler.kind}) on "
        f"{gpu.name} ({architecture(gpu.compute_capability)}); for the recorded questions at most "
        f"{worst:.2g} from the network."
    )


def plan_summary(change: Change) -> list[Mapping[str, object]]:
    """Return what was compiled, for programs."""
    return [plan.model_dump(mode="json", exclude={"shapes"}) for plan in change.plans]
