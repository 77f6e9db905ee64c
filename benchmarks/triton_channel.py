"""What a call to Triton costs the caller: the gateway's own channel, ``grpc.aio``, ``grpc``.

    .venv/bin/python benchmarks/triton_channel.py

One process asks an embedded Triton, a process of its own, for the same over each channel, in turns
within one run; every answer is compared before anything is measured. CPU is the process time of
the caller, with all its threads. Machines are noisy, so the ratio to the own channel is what can be
compared between runs. ``--connections`` compares 1, 2 and 4 connections of the own channel instead.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import grpc
import numpy as np
import onnx
import spox
import spox.opset.ai.onnx.v18 as op
from rich import box
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import InferenceServerClient, service_pb2

from gateway.triton.http2.channel import Channel
from gateway.triton.tensors import arrays_to_request
from triton_models.server import EmbeddedTriton

try:
    import uvloop
except ImportError:
    uvloop = None

SERVICE = "/inference.GRPCInferenceService/"
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]
TIMEOUT_S = 30
CONFIG = """backend: "onnxruntime"
max_batch_size: 8
instance_group [{ kind: KIND_CPU count: 1 }]
input [{ name: "x" data_type: TYPE_FP32 dims: [-1] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [-1] }]"""


@dataclass(frozen=True)
class Question:
    """What is asked; messages as bytes, so that only the channels are compared."""

    name: str
    method: str
    message: bytes


@dataclass
class Side:
    """One way to ask, and what it took."""

    name: str
    ask: Callable[[str, bytes], Any]
    """Gives the answer, or an awaitable of it."""
    waits: bool = False
    """Whether it is of the kind that keeps a thread waiting."""
    cpu_s: list[float] = field(default_factory=list)
    """Of each turn, a call."""
    latencies_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """One way to ask one question; ratios to the first way."""

    loop: str
    question: str
    in_flight: int
    side: str
    calls: int
    cpu_us: float
    p50_us: float
    ratio_cpu: float
    ratio_p50: float


def write_model(models: Path) -> None:
    """Write ``twice``: ``x`` (B, N) float32 to ``y`` (B, N), doubled."""
    x = spox.argument(spox.Tensor(np.float32, ("B", "N")))
    model: onnx.ModelProto = spox.build({"x": x}, {"y": op.add(x, x)})
    (models / "twice" / "1").mkdir(parents=True)
    (models / "twice" / "config.pbtxt").write_text(CONFIG)
    (models / "twice" / "1" / "model.onnx").write_bytes(model.SerializeToString())


def inference(name: str, size: int) -> Question:
    """Return a ModelInfer of one row of ``size`` numbers."""
    row = np.arange(size, dtype=np.float32)[np.newaxis]
    request = arrays_to_request("twice", {"x": row}, ["y"])
    return Question(name, "ModelInfer", request.SerializeToString())


LIVE = Question("ServerLive", "ServerLive", service_pb2.ServerLiveRequest().SerializeToString())
SMALL = inference("ModelInfer, 16 numbers", 16)
LARGE = inference("ModelInfer, 600 kB", 150_000)


def own_channel(target: str, connections: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return how to ask over so many connections of the own channel, and how to close them."""
    channels = [Channel(target) for _ in range(connections)]
    turn = itertools.cycle(channels)

    def ask(method: str, message: bytes) -> Awaitable[bytes]:
        return next(turn).unary(SERVICE + method, message, timeout_s=TIMEOUT_S)

    async def close() -> None:
        await asyncio.gather(*(one.close() for one in channels))

    return ask, close


def grpc_ask(channel: Any) -> Callable[[str, bytes], Any]:
    """Return how to ask over a channel of grpc; messages stay bytes."""
    methods = {name: channel.unary_unary(SERVICE + name) for name in ("ServerLive", "ModelInfer")}
    return lambda method, message: methods[method](message, timeout=TIMEOUT_S)


async def turn(side: Side, question: Question, in_flight: int, calls: int) -> None:
    """Ask ``calls`` times, so many at once."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []

    def wait_here(share: int) -> None:
        for _ in range(share):
            start = time.perf_counter()
            side.ask(question.method, question.message)
            latencies.append(time.perf_counter() - start)

    async def wait_on_loop(share: int) -> None:
        for _ in range(share):
            start = time.perf_counter()
            await side.ask(question.method, question.message)
            latencies.append(time.perf_counter() - start)

    share = max(1, calls // in_flight)
    with ThreadPoolExecutor(in_flight) as threads:
        cpu = time.process_time()
        if side.waits and in_flight == 1:
            wait_here(share)
        elif side.waits:
            await asyncio.gather(
                *(loop.run_in_executor(threads, wait_here, share) for _ in range(in_flight))
            )
        else:
            await asyncio.gather(*(wait_on_loop(share) for _ in range(in_flight)))
        side.cpu_s.append((time.process_time() - cpu) / len(latencies))
    side.latencies_s += latencies


async def contest(
    loop: str, sides: Sequence[Side], question: Question, in_flight: int, rounds: int, calls: int
) -> list[Measured]:
    """Ask all sides the same in turns; the order changes from round to round."""
    for number in range(-1, rounds):
        for side in sides if number % 2 else reversed(sides):
            await turn(side, question, in_flight, calls if number >= 0 else max(calls // 5, 1))
        if number < 0:  # warm
            for side in sides:
                side.cpu_s, side.latencies_s = [], []
    cpu = [1e6 * float(np.median(side.cpu_s)) for side in sides]
    p50 = [1e6 * float(np.median(side.latencies_s)) for side in sides]
    return [
        Measured(
            loop, question.name, in_flight, side.name, len(side.latencies_s),
            cpu[n], p50[n], cpu[n] / cpu[0], p50[n] / p50[0],
        )
        for n, side in enumerate(sides)
    ]  # fmt: skip


async def compare_answers(sides: Sequence[Side], questions: Sequence[Question]) -> None:
    """Check that all sides bring the same answers."""
    for question in questions:
        answers = []
        for side in sides:
            answer = side.ask(question.method, question.message)
            answers.append(answer if side.waits else await answer)
        if any(answer != answers[0] for answer in answers) or not answers[0]:
            raise SystemExit(f"{question.name}: the answers differ")


async def compare_channels(loop: str, target: str, rounds: int, calls: int) -> list[Measured]:
    """Compare the own channel with grpc's two."""
    ask, close = own_channel(target, 1)
    results: list[Measured] = []
    async with grpc.aio.insecure_channel(target, options=OPTIONS) as aio:
        with grpc.insecure_channel(target, options=OPTIONS) as sync:
            make = [("own", ask, False), ("grpc.aio", grpc_ask(aio), False),
                    ("grpc", grpc_ask(sync), True)]  # fmt: skip
            await compare_answers([Side(*one) for one in make], (LIVE, SMALL, LARGE))
            for question, in_flight in itertools.product((LIVE, SMALL), (1, 4, 16)):
                sides = [Side(*one) for one in make]
                results += await contest(loop, sides, question, in_flight, rounds, calls)
            sides = [Side(*one) for one in make]
            results += await contest(loop, sides, LARGE, 1, rounds, max(calls // 5, 1))
    await close()
    return results


async def compare_connections(loop: str, target: str, rounds: int, calls: int) -> list[Measured]:
    """Compare 1, 2 and 4 connections."""
    results: list[Measured] = []
    make = [(f"{count} connections", *own_channel(target, count)) for count in (1, 2, 4)]
    for question, in_flight in itertools.product((SMALL, LARGE), (16, 64)):
        sides = [Side(name, ask) for name, ask, _ in make]
        share = calls if question is SMALL else max(calls // 5, in_flight)
        results += await contest(loop, sides, question, in_flight, rounds, share)
    for _, _, close in make:
        await close()
    return results


def loops() -> Iterator[tuple[str, Callable[[], asyncio.AbstractEventLoop]]]:
    """Give the event loops that are installed."""
    yield "asyncio", asyncio.new_event_loop
    if uvloop is not None:
        yield "uvloop", uvloop.new_event_loop


def show(console: Console, results: Sequence[Measured]) -> None:
    """Print the results for people."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="µs a call; ratio to the first side")
    for column in ("loop", "call", "in flight", "side", "calls", "CPU", "p50", "CPU ×", "p50 ×"):
        table.add_column(column, justify="left" if column in ("loop", "call", "side") else "right")
    for one in results:
        table.add_row(
            one.loop, one.question, str(one.in_flight), one.side, str(one.calls),
            f"{one.cpu_us:.0f}", f"{one.p50_us:.0f}", f"{one.ratio_cpu:.2f}",
            f"{one.ratio_p50:.2f}", end_section=one.side == results[-1].side,
        )  # fmt: skip
    console.print(table)


@click.command()
@click.option("--rounds", default=8, show_default=True, type=click.IntRange(1))
@click.option("--calls", default=400, show_default=True, type=click.IntRange(1), help="A turn.")
@click.option("--connections", is_flag=True, help="Compare 1, 2 and 4 connections.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(rounds: int, calls: int, connections: bool, as_json: bool) -> None:
    """Compare what a call to Triton costs over the gateway's own channel and over grpc's."""
    compare = compare_connections if connections else compare_channels
    results: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        with EmbeddedTriton(Path(folder)) as triton:
            triton.wait_ready()
            with InferenceServerClient(triton.target) as client:
                client.load_model("twice")
            for name, factory in loops():
                with asyncio.Runner(loop_factory=factory) as runner:
                    results += runner.run(compare(name, triton.target, rounds, calls))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in results]))
    else:
        show(Console(stderr=False, width=110), results)


if __name__ == "__main__":
    sys.exit(main())
