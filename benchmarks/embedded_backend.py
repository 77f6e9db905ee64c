"""What each choice in the embedded backend gives: instances, threads, stacking, copies, binding.

    .venv/bin/python benchmarks/embedded_backend.py

Two bare networks, where little but overhead counts (an MLP, 30 → 64 → 2) and where compute does
(a transformer, 50 tokens, 128 wide). Each choice is a model of its own in one embedded Triton. All
are asked in turns within one run, so that the ratio to the first (one instance, one thread) can be
compared between machines; the client shares the cores. Every answer is compared with ONNX
Runtime's own before anything is measured. With --store, the two variants of each routed release
are compared too.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime as ort
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn

from gateway.triton.client import TritonClient
from gateway.triton.tensors import arrays_to_request, response_to_arrays
from model_builder.export.onnx import export_core, serialised
from triton_models.embedded.installation import BACKEND_MODEL
from triton_models.release import Manifest
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

LOADS = (1, 16, 64)
"""Requests in flight."""

BASE = "one instance, one thread"

CHOICES: dict[str, str] = {
    BASE: "",
    "two threads": "threads=2",
    "two instances": "instances=2",
    "stacked by Triton": "stacked",
    "stacked, two instances": "stacked instances=2",
    "batched by Triton, run one by one": "stacked one_by_one",
    "tensors copied": "copied",
    "I/O binding": "bound",
}

VARIANTS = {
    "one_by_one": "self._batches = False",
    "copied": """
        feed, run = self._feed, self._sessions.run
        self._feed = lambda tensor: feed(tensor).copy()
        self._sessions.run = lambda *asked: [value.copy() for value in run(*asked)]""",
    "bound": """
        session = self._sessions._whole
        def run(names, feeds):
            binding = session.io_binding()
            for name, value in feeds.items():
                binding.bind_cpu_input(name, value)
            for name in names:
                binding.bind_output(name)
            session.run_with_iobinding(binding)
            return binding.copy_outputs_to_cpu()
        self._sessions.run = run""",
}
"""What is done otherwise than the backend does it, after it was initialised."""


@dataclass(frozen=True)
class Measured:
    """One choice, under one load."""

    network: str
    choice: str
    in_flight: int
    per_second: float
    p50_ms: float
    ratio: float
    """Requests a second, to those of the first choice in the same round; the median."""
    ratio_p50: float
    """Of the first choice's p50 to this one's, so that more is better here too."""


class Transformer(nn.Module):
    """Two layers over tokens that are already vectors, and the mean of what comes out."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, 50, 128)`` to ``(B, 128)``."""
        return self.layers(x).mean(dim=1)


def networks() -> dict[str, tuple[bytes, np.ndarray[Any, Any]]]:
    """Return the networks as ONNX, and 64 rows to ask them for."""
    torch.manual_seed(0)
    draws = np.random.default_rng(0)
    made = {}
    mlp = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2))

    class Named(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    for name, network, shape in (("mlp", mlp, (30,)), ("transformer", Transformer(), (50, 128))):
        rows = draws.normal(size=(64, *shape)).astype(np.float32)
        example = {"x": torch.from_numpy(rows[:2])}
        made[name] = serialised(export_core(Named(network), example, ["y"])), rows
    return made


def write_model(folder: Path, content: bytes, rows: np.ndarray[Any, Any], how: str) -> None:
    """Write one network with one choice as a model of Triton."""
    words = how.split()
    numbers = dict(word.split("=") for word in words if "=" in word)
    inside = [VARIANTS[word] for word in words if word in VARIANTS]
    outputs = {"mlp": 2, "transformer": 128}[folder.name.partition("__")[0]]
    config = [
        f'backend: "{"python" if inside else "onnxruntime"}"',
        "max_batch_size: 64",
        f'input {{ name: "x" data_type: TYPE_FP32 dims: {list(rows.shape[1:])} }}',
        f'output {{ name: "y" data_type: TYPE_FP32 dims: [{outputs}] }}',
        f"instance_group {{ kind: KIND_CPU count: {numbers.get('instances', 1)} }}",
        'parameters { key: "intra_op_thread_count" '
        f'value {{ string_value: "{numbers.get("threads", 1)}" }} }}',
    ]
    if "stacked" in words:
        config.append("dynamic_batching {}")
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text("\n".join(config))
    (folder / "1" / "model.onnx").write_bytes(content)
    if inside:
        (folder / "1" / "model.py").write_text(
            "import json\n"
            "from importlib.machinery import SourceFileLoader\n"
            f"backend = SourceFileLoader('backend', {str(BACKEND_MODEL)!r}).load_module()\n\n"
            "class TritonPythonModel(backend.TritonPythonModel):\n"
            "    def initialize(self, args):\n"
            "        config = json.loads(args['model_config'])\n"
            "        config['default_model_filename'] = 'model.onnx'\n"
            "        super().initialize({**args, 'model_config': json.dumps(config)})\n"
            f"        {inside[0].strip()}\n"
        )


async def ask_for(
    client: TritonClient, requests: Sequence[Any], in_flight: int, seconds: float
) -> tuple[float, float]:
    """Return requests a second, and the median time of one in ms."""
    times: list[float] = []
    turn = itertools.cycle(requests)
    end = time.perf_counter() + seconds

    async def asker() -> None:
        while (start := time.perf_counter()) < end:
            await client.infer(next(turn), timeout_s=30, headers={})
            times.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(asker() for _ in range(in_flight)))
    return len(times) / (time.perf_counter() - start), 1000 * statistics.median(times)


async def measure(
    client: TritonClient,
    network: str,
    asked: Mapping[str, Sequence[Any]],
    rounds: int,
    seconds: float,
) -> list[Measured]:
    """Ask all in turns, under each load; the first is what the others are compared with."""
    first = next(iter(asked))
    found = []
    for in_flight in LOADS:
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
        for requests in asked.values():
            await ask_for(client, requests, in_flight, seconds / 4)
        for number in range(rounds):
            for name in asked if number % 2 else reversed(asked):
                seen[name].append(await ask_for(client, asked[name], in_flight, seconds))
        for name, results in seen.items():
            pairs = list(zip(results, seen[first], strict=True))
            found.append(
                Measured(
                    network, name, in_flight,
                    statistics.median(one[0] for one in results),
                    statistics.median(one[1] for one in results),
                    statistics.median(one[0] / base[0] for one, base in pairs),
                    statistics.median(base[1] / one[1] for one, base in pairs),
                )
            )  # fmt: skip
    return found


async def compare_choices(rounds: int, seconds: float) -> list[Measured]:
    """Measure every choice on both networks."""
    with tempfile.TemporaryDirectory() as folder:
        made = networks()
        names = {
            (network, choice): f"{network}__{number}"
            for network in made
            for number, choice in enumerate(CHOICES)
        }
        for (network, choice), name in names.items():
            write_model(Path(folder) / name, *made[network], CHOICES[choice])
        triton = EmbeddedTriton(Path(folder))
        try:
            await asyncio.to_thread(triton.start)
            await asyncio.to_thread(triton.wait_ready)
            client = TritonClient(triton.target)
            results = []
            for network, (content, rows) in made.items():
                expected = ort.InferenceSession(content).run(None, {"x": rows})[0]
                asked = {}
                for choice in CHOICES:
                    name = names[network, choice]
                    await client.load(name, 60)
                    asked[choice] = [arrays_to_request(name, {"x": row[None]}) for row in rows]
                    answers = await asyncio.gather(
                        *(client.infer(r, timeout_s=30, headers={}) for r in asked[choice])
                    )
                    served = [response_to_arrays(answer, 1)["y"][0] for answer in answers]
                    np.testing.assert_allclose(served, expected, atol=1e-4, err_msg=choice)
                results += await measure(client, network, asked, rounds, seconds)
            await client.close()
            return results
        finally:
            await asyncio.to_thread(triton.stop)


def example(manifest: Manifest) -> dict[str, np.ndarray[Any, Any]]:
    """Return the tensors of a plain request: 50 items, or a row of features."""
    draws = np.random.default_rng(0)
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for tensor in manifest.inputs:
        varying = 50 if tensor.name == "history_item_ids" else 1
        shape = [1, *(varying if size < 0 else size for size in tensor.dims)]
        if tensor.data_type == "BYTES":
            texts = [str(n + 1).encode() if "history" in tensor.name else b"" for n in range(50)]
            tensors[tensor.name] = np.array(texts[: shape[1]], object).reshape(shape)
        elif tensor.data_type == "FP32":
            tensors[tensor.name] = draws.normal(size=shape).astype(np.float32)
        elif tensor.data_type == "BOOL":
            tensors[tensor.name] = np.zeros(shape, np.bool_)
        else:
            tensors[tensor.name] = np.full(shape, 10, np.int32)
    return tensors


async def compare_variants(store: ReleaseStore, rounds: int, seconds: float) -> list[Measured]:
    """Measure the ensemble and the fused variant of each routed release, as they are called."""
    triton = EmbeddedTriton(Path(store.models_path))
    try:
        await asyncio.to_thread(triton.start)
        await asyncio.to_thread(triton.wait_ready)
        client = TritonClient(triton.target)
        results = []
        for line, targets in store.routes()[1].lines.items():
            manifest = store.manifest(line, targets[0].release)
            names = [output.name for output in manifest.outputs]
            plain = [name for name in names if name != "contributions"]
            wanted = {line: plain} | ({f"{line}, explained": names} if plain != names else {})
            for variant in manifest.variants:
                await client.load(manifest.model_of(variant), 60)
            for title, outputs in wanted.items():
                tensors = example(manifest)
                asked = {
                    variant: [arrays_to_request(manifest.model_of(variant), tensors, outputs)]
                    for variant in manifest.variants
                }
                answers = []
                for (request,) in asked.values():
                    answer = await client.infer(request, timeout_s=30, headers={})
                    await asyncio.sleep(1)  # a session for these outputs is being made
                    again = await client.infer(request, timeout_s=30, headers={})
                    answers += [response_to_arrays(one, 1) for one in (answer, again)]
                for answer in answers[1:]:
                    for name in outputs:
                        same(answer[name], answers[0][name], f"{title}: {name}")
                results += await measure(client, title, asked, rounds, seconds)
        await client.close()
        return results
    finally:
        await asyncio.to_thread(triton.stop)


def same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], what: str) -> None:
    """Raise if two answers differ by more than rounding."""
    if one.dtype == object:
        np.testing.assert_array_equal(one, other, err_msg=what)
    else:
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=what)


def show(console: Console, results: Sequence[Measured]) -> None:
    """Print a table for each network."""
    for network in dict.fromkeys(one.network for one in results):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=network)
        table.add_column("")
        for load in LOADS:
            for column in (f"p50 ms @{load}", "faster", "req/s", "ratio"):
                table.add_column(column, justify="right", no_wrap=True)
        mine = [one for one in results if one.network == network]
        for choice in dict.fromkeys(one.choice for one in mine):
            cells = []
            for one in (one for one in mine if one.choice == choice):
                cells += [f"{one.p50_ms:.2f}", f"{one.ratio_p50:.2f}"]
                cells += [f"{one.per_second:.0f}", f"{one.ratio:.2f}"]
            table.add_row(choice, *cells)
        console.print(table)


@click.command()
@click.option("--store", type=click.Path(exists=True, file_okay=False), help="Of releases.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=0.5, show_default=True, help="Of each choice in each round.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(store: str | None, rounds: int, seconds: float, as_json: bool) -> None:
    """Compare what the embedded backend could do with what it does."""
    results = asyncio.run(compare_choices(rounds, seconds))
    if store is not None:
        results += asyncio.run(compare_variants(ReleaseStore(store), rounds, seconds))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in results]))
    else:
        show(Console(width=160), results)


if __name__ == "__main__":
    main()
