"""How the time of a recommendation grows with the catalogue, through Triton and step by step.

    .venv/bin/python benchmarks/catalogue_size.py

For each size a recommender of the usual shape is made (two blocks, 64 wide, the newest 200 items;
its weights are random, which costs the same), exported as a release is, and served by the embedded
Triton as the gateway has it on this machine (``--triton-instances auto``): the ensemble, and then
the fused model. One client asks one request at a time, of 100 items each. The time of a step is
Triton's own: what its model took to compute.

Nothing is trained, so nothing is said of quality. The largest size needs 6 GB of memory and 2 GB
of disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import grpc
import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import InferenceServerClient, service_pb2_grpc

from gateway.cores import triton_instances, usable_cores
from gateway.triton.tensors import arrays_to_request, response_to_arrays
from model_builder.export.ensemble import write_models
from model_builder.recsys.exporting import export_steps
from model_builder.recsys.ranking import Ranker
from model_builder.recsys.request_tensors import Request, request_tensors
from model_builder.recsys.shortlists import FirstStage
from model_builder.recsys.transformer import NextItemNetwork
from triton_models.embedded.instances import config_with_instances
from triton_models.release import ensemble_name, fused_name, step_name
from triton_models.server import EmbeddedTriton
from triton_models.signatures import RECOMMEND

LINE, RELEASE = "recommend", "sized"
WIDTH, LENGTH, ASKED, SHORTLIST = 64, 200, 100, 200
REQUESTS = 64
"""Different ones, so that nothing is measured that is only ever one request."""
TIMEOUT_S = 60
LOAD_S = 600


@dataclass(frozen=True)
class Measured:
    """One variant at one size."""

    items: int
    variant: str
    p50_ms: float
    p95_ms: float
    steps_ms: dict[str, float]
    """By step, the mean time that its model computed."""
    load_s: float
    megabytes: float
    """Of memory that the server takes with it, beyond that without a model."""
    file_megabytes: float


def write_release(items: int, models: Path) -> tuple[str, ...]:
    """Write a recommender of random weights; return the names of its steps."""
    torch.manual_seed(0)
    counts = torch.from_numpy(np.random.default_rng(0).zipf(1.2, items + 1)).clamp(max=1e6)
    network = NextItemNetwork(
        counts, width=WIDTH, layers=2, heads=2, history_length=LENGTH, dropout=0.0
    ).eval()
    first = FirstStage(network, SHORTLIST)
    ranker = Ranker(first.table, LENGTH, first.count)
    torch.nn.init.normal_(ranker.out.weight, std=0.1)
    steps = export_steps(first, ranker, [f"item {number}" for number in range(1, items + 1)])
    write_models(models, LINE, RELEASE, steps, RECOMMEND)
    return tuple(step.name for step in steps)


def measure(items: int, calls: int) -> list[Measured]:
    """Measure both variants at one size."""
    with tempfile.TemporaryDirectory(prefix="catalogue-size-") as folder:
        models = Path(folder, "models")
        models.mkdir()
        steps = write_release(items, models)
        instances = triton_instances(usable_cores())
        with EmbeddedTriton(models) as server:
            server.wait_ready()
            with contextlib.ExitStack() as stack:
                client = stack.enter_context(InferenceServerClient(server.target))
                channel = stack.enter_context(grpc.insecure_channel(server.target))
                infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
                found = []
                for variant, name, parts in (
                    ("ensemble", ensemble_name(LINE, RELEASE),
                     [step_name(LINE, RELEASE, step) for step in steps]),
                    ("fused", fused_name(LINE, RELEASE), [fused_name(LINE, RELEASE)]),
                ):  # fmt: skip
                    before, started = _memory(), time.monotonic()
                    for part in parts:
                        config = config_with_instances(models, part, instances)
                        client.load_model(part, config=config, client_timeout=LOAD_S)
                    if variant == "ensemble":
                        client.load_model(name, client_timeout=LOAD_S)
                    load_s = time.monotonic() - started
                    asked = _requests(items, name)
                    for request in asked[:10]:
                        _check(infer(request, timeout=TIMEOUT_S))
                    known = {part: _computed(client, part) for part in parts}
                    times = []
                    for number in range(calls):
                        begun = time.perf_counter()
                        infer(asked[number % len(asked)], timeout=TIMEOUT_S)
                        times.append((time.perf_counter() - begun) * 1000)
                    taken = {
                        part.rpartition("__")[2]: _mean(known[part], _computed(client, part))
                        for part in parts
                    }
                    found.append(
                        Measured(
                            items,
                            variant,
                            statistics.median(times),
                            float(np.quantile(times, 0.95)),
                            taken,
                            load_s,
                            _memory() - before,
                            sum(_size(models / part) for part in parts) / 1e6,
                        )
                    )
                    client.unload_model(name, unload_dependents=True)
                return found


def _requests(items: int, model: str) -> Sequence[object]:
    draws = np.random.default_rng(1)
    return [
        arrays_to_request(
            model,
            {
                name: np.char.encode(array.astype(str), "utf-8").astype(object)
                if array.dtype == object
                else array
                for name, array in request_tensors(
                    [Request([f"item {n}" for n in draws.integers(1, items + 1, ASKED)])]
                ).items()
            },
        )
        for _ in range(REQUESTS)
    ]


def _check(response: object) -> None:
    answer = response_to_arrays(response, 1)
    assert answer["item_ids"].all()
    assert (np.diff(answer["scores"]) <= 0).all()


Computed = tuple[int, int]
"""Executions, and their nanoseconds."""


def _computed(client: InferenceServerClient, model: str) -> Computed:
    (stats,) = client.get_inference_statistics(model).model_stats
    took = stats.inference_stats
    parts = (took.compute_input, took.compute_infer, took.compute_output)
    return stats.execution_count, sum(part.ns for part in parts)


def _mean(before: Computed, after: Computed) -> float:
    return (after[1] - before[1]) / 1e6 / max(after[0] - before[0], 1)


def _memory() -> float:
    """Return the megabytes of this process's children, what they share counted once."""
    pages = 0
    for process in _children(os.getpid()):
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
            pages += sum(int(row.split()[1]) for row in rollup.splitlines() if row[:4] == "Pss:")
    return pages / 1000


def _children(process: int) -> list[int]:
    found = []
    for tasks in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, tasks.read_text(encoding="ascii").split()):
                found += [child, *_children(child)]
    return found


def _size(model: Path) -> int:
    return sum(file.stat().st_size for file in model.rglob("*.onnx"))


@click.command()
@click.option("--sizes", default="1000,10000,100000,1000000", show_default=True)
@click.option("--calls", default=200, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(sizes: str, calls: int, as_json: bool) -> None:
    """Measure catalogues of several sizes."""
    results = []
    for size in sizes.split(","):
        results += measure(int(size), calls)
        click.echo(f"{int(size):,} items are measured", err=True)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in results]))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="One request at a time, ms")
    for column in ("items", "variant", "p50", "p95", "load s", "MB", "files MB", "steps"):
        table.add_column(column, justify="right")
    for one in results:
        steps = ", ".join(f"{name} {took:.2f}" for name, took in one.steps_ms.items())
        table.add_row(
            f"{one.items:,}", one.variant, f"{one.p50_ms:.2f}", f"{one.p95_ms:.2f}",
            f"{one.load_s:.1f}", f"{one.megabytes:.0f}", f"{one.file_megabytes:.0f}", steps,
        )  # fmt: skip
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
