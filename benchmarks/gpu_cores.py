"""What the networks of releases answer on the GPU of this machine, and in what time.

    python benchmarks/gpu_cores.py recommend/r1 score-risk/r1 --store STORE --precision fp32,fp16

For a machine with a GPU and `onnxruntime-gpu`; no Triton is needed. Each release's chain of steps
is asked the recorded test rows, with its cores on the GPU under the options that `onnx-cuda` gives
Triton, and its answers are held against those recorded, as the proof of a release holds Triton's.
Then each core is timed alone, on the CPU and on the GPU in turns, with tensors that come from the
host's memory and go there, as Triton's *compute* has it. Other precisions than FP32 are made by
ModelOpt as `model-builder compile` makes them, and are held against FP32.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import onnxruntime as ort
from google.protobuf import text_format
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import model_config_pb2 as mc

from model_builder.errors import ProofFailed
from model_builder.export.chain import StepChain
from model_builder.export.onnx import serialised
from model_builder.export.running import CPU, Arrays, OnnxModel, Provider
from model_builder.opened_release import Opened, opened_release
from model_builder.proof.comparing import Comparison
from model_builder.proof.proving import full_batches
from model_builder.task import StepModel
from model_builder.tensorrt.errors import CompileFailed, ToolMissing
from model_builder.tensorrt.machine import first_gpu
from model_builder.tensorrt.parity import differences
from model_builder.tensorrt.precision import in_precision
from model_builder.variants.timing import drawn
from triton_models.plans import ONNX_CUDA
from triton_models.store import ReleaseStore

CUDA = "CUDAExecutionProvider"
BATCHES = (1, 8, 32, 128)
_WARM_UP = 5
_CONFIG = Path("configs", f"{ONNX_CUDA}.pbtxt")
"""Below a model's folder."""


@dataclass(frozen=True)
class Proved:
    """A release whose cores were on the GPU."""

    release: str
    rows: int
    largest: dict[str, float]
    """Difference from what was recorded, by output."""
    placed: dict[str, dict[str, int]]
    """By core: how many of its nodes each provider of ONNX Runtime computes."""
    fault: str = ""
    """Why it is not as proven; empty if it is."""


@dataclass(frozen=True)
class Measured:
    """A core in a precision, at a batch size."""

    release: str
    step: str
    precision: str
    rows: int
    cpu_ms: float
    """Median, of FP32."""
    gpu_ms: float
    difference: dict[str, float]
    """By output, from FP32 on the CPU; relative to the largest, of whole numbers the share."""


def provider_of(config: str) -> Provider:
    """Return what computes a model on a GPU, as a configuration of `onnx-cuda` says.

    Args:
        config: The text of a ``configs/onnx-cuda.pbtxt``.
    """
    parsed = text_format.Parse(config, mc.ModelConfig())
    accelerators = parsed.optimization.execution_accelerators.gpu_execution_accelerator
    (cuda,) = (one for one in accelerators if one.name == "cuda")
    return CUDA, dict(cuda.parameters)


def providers_of(opened: Opened) -> dict[str, tuple[Provider, ...]]:
    """Return what computes each core of a release under `onnx-cuda`."""
    return {
        step.name: (provider_of((opened.models / step.model / _CONFIG).read_text("utf-8")), CPU)
        for step in opened.manifest.steps
        if step.role == "core"
    }


def proved(opened: Opened, providers: Mapping[str, Sequence[Provider]], most: int) -> Proved:
    """Ask a release its recorded test rows, ``most`` of them at most."""
    chain, recorded = StepChain(opened.steps, providers), opened.recorded
    rows = min(recorded.rows, most)
    comparison = Comparison("onnx-cuda", opened.manifest, rows)
    fault = ""
    try:
        for places in full_batches(rows):
            inputs, expected = recorded.batch(places)
            answers = chain.run(inputs)
            comparison.add(expected, {name: answers[name] for name in expected})
    except ProofFailed as error:
        fault = str(error)
    largest = {name: each.max_difference for name, each in comparison.parity.items()}
    seen = chain.given(recorded.batch(recorded.golden())[0])
    where = {
        step.name: placed(serialised(step.model), providers[step.name], seen[step.name])
        for step in opened.steps
        if step.name in providers
    }
    return Proved(opened.name, rows, largest, where, fault)


def measured(
    opened: Opened,
    providers: Mapping[str, Sequence[Provider]],
    precisions: Sequence[str],
    samples: int,
) -> Iterator[Measured]:
    """Time each core of a release at each batch size."""
    recorded = opened.recorded
    chain = StepChain(opened.steps)
    given = {rows: _given(chain, opened, rows, samples) for rows in BATCHES}
    seen = chain.given(recorded.batch(recorded.golden())[0])
    for core in (step for step in opened.steps if step.role == "core"):
        cpu = OnnxModel(serialised(core.model))
        for precision in precisions:
            gpu = _on_gpu(core, precision, seen[core.name], providers[core.name])
            if gpu is None:
                continue
            for rows in BATCHES:
                asked = [each[core.name] for each in given[rows]]
                cpu_ms, gpu_ms = _medians_ms((cpu, gpu), asked)
                far = differences(cpu.run(asked[0]), gpu.run(asked[0]))
                yield Measured(opened.name, core.name, precision, rows, cpu_ms, gpu_ms, far)


def placed(model: bytes, providers: Sequence[Provider], asked: Arrays) -> dict[str, int]:
    """Return how many nodes of a network each provider computes.

    Args:
        model: An ONNX file.
        providers: Of ONNX Runtime, in the order of preference.
        asked: Inputs by name, ``(B, …)``.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="trident-placed-") as scratch:
        options.profile_file_prefix = str(Path(scratch, "profile"))
        session = ort.InferenceSession(model, options, providers=list(providers))
        session.run(None, dict(asked))
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return dict(
        Counter(event["args"]["provider"] for event in events if event["args"].get("provider"))
    )


def _on_gpu(
    core: StepModel, precision: str, seen: Arrays, providers: Sequence[Provider]
) -> OnnxModel | None:
    """Return a core on the GPU; ``None``, said so, if it cannot be had in this precision."""
    try:
        typed = in_precision(core.name, core.model, precision, seen)  # type: ignore[arg-type]
        if typed.because:
            raise CompileFailed(core.name, [typed.because])
        return OnnxModel(serialised(typed.model), providers=providers)
    except (CompileFailed, ToolMissing, ort.capi.onnxruntime_pybind11_state.Fail) as error:
        Console(stderr=True).print(f"{core.name} in {precision}: {error}", highlight=False)
        return None


def _given(chain: StepChain, opened: Opened, rows: int, count: int) -> list[dict[str, Arrays]]:
    recorded = opened.recorded
    return [chain.given(recorded.batch(places)[0]) for places in drawn(recorded.rows, rows, count)]


def _medians_ms(models: Sequence[OnnxModel], asked: Sequence[Arrays]) -> list[float]:
    """Return the median time of each model, asked in turns."""
    times: list[list[float]] = [[] for _ in models]
    for turn, inputs in enumerate([*asked[:_WARM_UP], *asked]):
        for model, its in zip(models, times, strict=True):
            begun = time.perf_counter()
            model.run(inputs)
            if turn >= _WARM_UP:
                its.append((time.perf_counter() - begun) * 1000)
    return [round(float(np.median(its)), 4) for its in times]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="LINE/RELEASE...")
@click.option("--store", default="triton_models/store", show_default=True)
@click.option("--precision", "precisions", default="fp32", show_default=True, help="With commas.")
@click.option("--rows", default=2000, show_default=True, help="Of the test split at most.")
@click.option("--samples", default=50, show_default=True, help="At each batch size.")
@click.option("--json", "as_json", is_flag=True)
def main(
    names: tuple[str, ...], store: str, precisions: str, rows: int, samples: int, as_json: bool
) -> None:
    """Ask, time, and print what was found."""
    gpu = first_gpu()
    if gpu is None:
        raise click.ClickException("there is no GPU here (nvidia-smi shows none)")
    if CUDA not in ort.get_available_providers():
        raise click.ClickException("onnxruntime-gpu is not installed here")
    ort.preload_dlls()
    proofs: list[Proved] = []
    times: list[Measured] = []
    for name in names:
        line, _, release = name.partition("/")
        with opened_release(ReleaseStore(store), line, release) as opened:
            providers = providers_of(opened)
            proofs.append(proved(opened, providers, rows))
            times.extend(measured(opened, providers, precisions.split(","), samples))
    if as_json:
        found = {"gpu": asdict(gpu), "onnxruntime": ort.__version__}
        lists = {"proved": map(asdict, proofs), "measured": map(asdict, times)}
        click.echo(json.dumps(found | {name: list(each) for name, each in lists.items()}))
        return
    console = Console(width=140)
    console.print(f"{gpu.name}, ONNX Runtime {ort.__version__}", highlight=False)
    for one in proofs:
        said = one.fault or ", ".join(f"{name} {far:.2g}" for name, far in one.largest.items())
        console.print(f"{one.release}, {one.rows} rows: {said}", highlight=False)
        for step, where in one.placed.items():
            console.print(f"  {step}: nodes of {where}", highlight=False)
    console.print(_table(times))


def _table(times: Sequence[Measured]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("release", "core", "in", "batch", "CPU ms", "GPU ms", "times", "difference"):
        table.add_column(name)
    for one in times:
        table.add_row(
            one.release, one.step, one.precision, str(one.rows), f"{one.cpu_ms:.3f}",
            f"{one.gpu_ms:.3f}", f"{one.cpu_ms / one.gpu_ms:.1f}",
            ", ".join(f"{name} {far:.2g}" for name, far in one.difference.items()),
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
