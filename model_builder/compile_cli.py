"""``model-builder compile``: plans for the GPU of this machine, as a child release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from model_builder.releases_cli import JSON_OPTION, STORE_OPTION, line_and_release
from model_builder.releasing_cli import how_to_release, releasing_options, showing_refusals
from triton_models.plans import ONNX_CUDA, ONNX_TENSORRT, PROFILES, TENSORRT, Precision

if TYPE_CHECKING:
    from rich.console import Console

    from model_builder.tensorrt.compiled import Compiler
    from model_builder.tensorrt.options import CompileOptions
    from triton_models.plan_check import RunsOn
    from triton_models.store import ReleaseStore

_NOTHING = {
    ONNX_CUDA: "Triton runs its networks on the GPU as they are",
    ONNX_TENSORRT: "ONNX Runtime has TensorRT compile them when Triton first loads them, and keeps "
    "the engines on that machine",
}


@click.command("compile")
@click.argument("name", metavar="LINE/RELEASE", required=False)
@click.option(
    "--routed",
    is_flag=True,
    help="Compile every release that is routed and has no plan for this GPU and TensorRT, and let "
    "what comes of it answer in its place.",
)
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default=TENSORRT,
    show_default=True,
    help="How Triton is to run it; only `tensorrt` has anything compiled.",
)
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="fp32",
    show_default=True,
    help="What the cores compute in; int8 and fp8 are scaled by rows of the training split.",
)
@click.option(
    "--min-batch", type=click.IntRange(1), default=1, show_default=True, help="Rows at least."
)
@click.option(
    "--opt-batch",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Rows that kernels are chosen for.",
)
@click.option(
    "--max-batch",
    type=click.IntRange(1),
    help="Rows at most; by default 1,000, as the API. Fewer take less memory, where a call of the "
    "line carries fewer.",
)
@click.option(
    "--hardware-compatible",
    is_flag=True,
    help="Let any GPU from Ampere (sm_80) on run the plan; it is slower than one for its own.",
)
@click.option(
    "--version-compatible",
    is_flag=True,
    help="Let later versions of TensorRT run the plan; Triton wants to be told so too "
    "(docs/tensorrt.md).",
)
@click.option(
    "--workspace",
    "workspace_mib",
    type=click.IntRange(16),
    default=4096,
    show_default=True,
    metavar="MIB",
    help="Memory of the GPU that kernels are tried out with.",
)
@click.option(
    "--timing-cache",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with timings of kernels: read if it is there, and written; the next compilation "
    "on this kind of GPU is faster.",
)
@click.option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="NPZ with inputs of the release, of its training split, by name; by default the rows that "
    "it kept.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, min_open=True),
    help="How far numbers of a plan may be from those of its network, relative to the largest; by "
    "default 0.001 in fp32, 0.01 in fp16, else 0.05.",
)
@click.option("--release", metavar="NAME", help="The child's name; by default the time.")
@releasing_options
@STORE_OPTION
@JSON_OPTION
def compile_command(
    name: str | None,
    routed: bool,
    profile: str,
    release: str | None,
    releasing: dict[str, Any],
    store_url: str,
    as_json: bool,
    **asked: Any,
) -> None:
    """Compile the cores of a release to TensorRT plans, on the GPU that is to run them.

    Makes a child release with the plans beside the networks, after each plan has answered the
    recorded questions as its network does. Nothing is compiled for `onnx-cuda` and
    `onnx-tensorrt`: then it says so, and ends with 0.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if bool(name) == routed:
        raise click.UsageError("give LINE/RELEASE or --routed")
    if routed and release:
        raise click.UsageError("--release names one release, and --routed may make several")
    if name is not None:
        line_and_release(name)
    options = _options(**asked)
    if profile in _NOTHING:
        what = name or "routed releases"
        console.print(
            f"Nothing of {what} is compiled for {profile}: {_NOTHING[profile]}. Serve with "
            f"--model-config-name={profile}.",
            highlight=False,
        )
        if as_json:
            click.echo(json.dumps({"profile": profile, "compiled": []}))
        return
    from triton_models.store import ReleaseStore

    store = ReleaseStore(store_url)
    made = []
    with showing_refusals(console, as_json):
        compiler = _compiler()
        how = how_to_release(releasing)
        for one in [name] if name is not None else list(_unfit(store)):
            made.append(_compile(store, one, options, compiler, how, release, routed, console))
    if not made:
        console.print("Every routed release has its plans for this machine.")
    if as_json:
        click.echo(json.dumps({"profile": profile, "compiled": made}))


def _options(
    precision: Precision,
    min_batch: int,
    opt_batch: int,
    max_batch: int | None,
    **rest: Any,
) -> CompileOptions:
    """Return what is asked of the plans.

    Raises:
        click.BadParameter: If the batches are not in order.
    """
    from model_builder.export.shapes import Range
    from model_builder.tensorrt.options import CompileOptions
    from triton_models.limits import MAX_BATCH_ROWS

    most = max_batch or MAX_BATCH_ROWS
    if not min_batch <= opt_batch <= most:
        raise click.BadParameter(
            f"must rise: --min-batch {min_batch}, --opt-batch {opt_batch}, --max-batch {most}",
            param_hint="--opt-batch",
        )
    return CompileOptions(precision=precision, batch=Range(min_batch, opt_batch, most), **rest)


def _compiler() -> Compiler:
    """Return what compiles on this machine.

    Raises:
        ToolMissing: If nothing does.
    """
    from model_builder.tensorrt.builder import PythonCompiler
    from model_builder.tensorrt.errors import ToolMissing
    from model_builder.tensorrt.machine import python_tensorrt, sees_gpu, trtexec_path
    from model_builder.tensorrt.trtexec import TrtexecCompiler

    module = python_tensorrt()
    if module is not None and sees_gpu():
        return PythonCompiler(module)
    program = trtexec_path()
    if program is not None:
        return TrtexecCompiler(program)
    if module is not None:
        raise ToolMissing(
            "TensorRT is installed, but torch sees no GPU to try a plan out on",
            "install a torch for CUDA, or use an image that has trtexec",
        )
    raise ToolMissing("TensorRT is not installed, and there is no trtexec")


def _unfit(store: ReleaseStore) -> Iterator[str]:
    """Return the routed releases that lack a plan for this machine."""
    from model_builder.tensorrt.machine import gpu_or_refusal, this_machine
    from triton_models.plan_check import plan_faults

    gpu_or_refusal()
    here: RunsOn = this_machine()
    _, routes = store.routes()
    for line, targets in routes.lines.items():
        for target in targets:
            if target.weight > 0 and plan_faults(store.manifest(line, target.release), here):
                yield f"{line}/{target.release}"


def _compile(
    store: ReleaseStore,
    name: str,
    options: CompileOptions,
    compiler: Compiler,
    how: Any,
    release: str | None,
    replace: bool,
    console: Console,
) -> dict[str, Any]:
    """Make one child; return what came of it, for programs."""
    from model_builder.child_release import make_child
    from model_builder.opened_release import opened_release
    from model_builder.report import PLAN_HEADER, plan_rows
    from model_builder.routing import replace_target
    from model_builder.tensorrt.compiling import compiled, plan_summary
    from model_builder.tensorrt.machine import gpu_or_refusal
    from model_builder.terminal import TerminalProgress, plain_table

    progress = TerminalProgress(console)
    line, parent_release = line_and_release(name)
    gpu = gpu_or_refusal()
    with opened_release(store, line, parent_release) as parent:
        change = compiled(parent, options, compiler, gpu, progress)
        manifest, path = make_child(store, parent, change, how, progress, release)
    child = f"{line}/{manifest.release}"
    console.print(plain_table(PLAN_HEADER, plan_rows(change.plans)))
    for step, because in change.details["kept_in_fp32"].items():
        console.print(f"'{step}' stays in FP32: {because}.", highlight=False)
    if replace:
        replace_target(store, line, parent_release, manifest.release)
    console.print(f"{child} has the plans of {name}; serve with --model-config-name={TENSORRT}.")
    return {
        "parent": name,
        "release": child,
        "manifest": path,
        "routed": replace,
        "plans": plan_summary(change),
    }
