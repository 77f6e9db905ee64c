"""What shared memory gives for tensors of the size of images, beside sending them.

    .venv/bin/python benchmarks/shared_memory.py

A model that only adds up an image (3 × 224 × 224, float32) runs in the embedded Triton; the same
requests go to it in turns over the connection and by shared memory, within one run, so that the
ratio can be compared between machines. Every answer is compared before anything is measured.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import spox
import spox.opset.ai.onnx.v18 as op
from rich import box
from rich.console import Console
from rich.table import Table

from gateway.triton.client import TritonClient
from gateway.triton.tensors import arrays_to_request, response_to_arrays
from triton_models.server import EmbeddedTriton

IMAGE = (3, 224, 224)
BATCHES = (1, 8, 32)
LOADS = (1, 4)
"""Requests in flight."""

CONFIG = """
backend: "onnxruntime"
max_batch_size: 64
instance_group [{ kind: KIND_CPU count: 1 }]
input [{ name: "image" data_type: TYPE_FP32 dims: [3, 224, 224] }]
output [{ name: "total" data_type: TYPE_FP32 dims: [1] }]
"""


@dataclass(frozen=True)
class Measured:
    """One batch size, under one load."""

    rows: int
    megabytes: float
    in_flight: int
    sent_p50_ms: float
    shared_p50_ms: float
    ratio: float
    """Of the p50s, the median of all rounds: above 1, shared memory is faster."""


def write_model(models: Path) -> None:
    """Write the model ``total``."""
    image = spox.argument(spox.Tensor(np.float32, ("B", *IMAGE)))
    flat = op.reshape(image, op.const(np.array([0, -1], np.int64)))
    total = op.reduce_sum(flat, op.const(np.array([1], np.int64)), keepdims=1)
    (models / "total" / "1").mkdir(parents=True)
    (models / "total" / "config.pbtxt").write_text(CONFIG)
    content = spox.build({"image": image}, {"total": total}).SerializeToString()
    (models / "total" / "1" / "model.onnx").write_bytes(content)


async def ask(client: TritonClient, images: np.ndarray, calls: int, in_flight: int) -> float:
    """Return the median time of a call in ms, from array to array."""
    times: list[float] = []

    async def asker() -> None:
        for _ in range(calls):
            start = time.perf_counter()
            request = arrays_to_request("total", {"image": images})
            answer = await client.infer(request, timeout_s=60, headers={})
            response_to_arrays(answer, len(images))
            times.append(1000 * (time.perf_counter() - start))

    await asyncio.gather(*(asker() for _ in range(in_flight)))
    return statistics.median(times)


async def compare(rounds: int, calls: int) -> list[Measured]:
    """Measure every batch size under every load."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        triton = EmbeddedTriton(Path(folder))
        try:
            await asyncio.to_thread(triton.start)
            await asyncio.to_thread(triton.wait_ready)
            sent = TritonClient(triton.target)
            shared = TritonClient(triton.target, shared_memory_bytes=64 * 1024)
            await sent.load("total", 60)
            for rows in BATCHES:
                images = np.random.default_rng(rows).random((rows, *IMAGE), np.float32)
                for client in (sent, shared):
                    request = arrays_to_request("total", {"image": images})
                    answer = await client.infer(request, timeout_s=60, headers={})
                    total = response_to_arrays(answer, rows)["total"][:, 0]
                    np.testing.assert_allclose(total, images.sum((1, 2, 3)), rtol=1e-4)
                for in_flight in LOADS:
                    pairs = []
                    for number in range(rounds):
                        order = (sent, shared) if number % 2 else (shared, sent)
                        found = {one: await ask(one, images, calls, in_flight) for one in order}
                        pairs.append((found[sent], found[shared]))
                    results.append(
                        Measured(
                            rows,
                            images.nbytes / 1e6,
                            in_flight,
                            statistics.median(one for one, _ in pairs),
                            statistics.median(other for _, other in pairs),
                            statistics.median(one / other for one, other in pairs),
                        )
                    )
            await asyncio.gather(sent.close(), shared.close())
        finally:
            await asyncio.to_thread(triton.stop)
    return results


@click.command()
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
@click.option("--calls", default=8, show_default=True, type=click.IntRange(1), help="A round.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(rounds: int, calls: int, as_json: bool) -> None:
    """Compare shared memory with sending."""
    results = asyncio.run(compare(rounds, calls))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in results]))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="p50 of a call in ms")
    for column in ("images", "MB", "in flight", "sent", "shared", "ratio"):
        table.add_column(column, justify="right")
    for one in results:
        table.add_row(
            str(one.rows), f"{one.megabytes:.1f}", str(one.in_flight),
            f"{one.sent_p50_ms:.2f}", f"{one.shared_p50_ms:.2f}", f"{one.ratio:.2f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
