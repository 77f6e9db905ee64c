"""What notes and spans cost on the whole way of a call through a gateway, in its own process.

    .venv/bin/python -m benchmarks.traced_path

64 callers at a time ask ``Diagnose`` over ASGI; what they ask stands for Triton and answers at
once. Everything else is the gateway's: its event loop, checks, batches, tensors, answers. The same
calls are made without traces, and with, in short turns. The numbers are CPU time a call, of the
event loop's thread and of the whole process, and what that is more than in the turn without traces
beside it. CPU time is hardly disturbed by other processes, so it shows small differences that calls
a second (``benchmarks/serving``) cannot tell. It leaves out Envoy, the client of Triton, and the
time that the loop waits for Python's lock while spans are sent. A gateway that drops spans did not
make them, and says too little: the last column must be 0, but for a collector that is away.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from fake_runner import diagnosed
from manifests import manifest

from benchmarks.tracing_cost import Nowhere
from gateway.inference.priority import SHARED, Turn
from gateway.inference.runner import RouteState, ServedRelease, Tensors
from gateway.process_tuning import new_event_loop, settle_garbage
from gateway.telemetry.exporter import SendFailed
from gateway.telemetry.metrics.recorder import Recorder
from gateway.telemetry.otlp_protobuf import ProtobufSpans
from gateway.telemetry.span import Source
from gateway.telemetry.span_queue import SpanQueue
from gateway.telemetry.tracing import Tracing
from gateway.transport.asgi import GrpcOverAsgi
from gateway.transport.grpc_wire import frame
from gateway.transport.services import build_services
from trident.diagnose.v1 import diagnose_service_pb2 as pb
from triton_models.release import FeatureSpec

LINE = "diagnose-measurements"
PATH = "/trident.diagnose.v1.DiagnoseService/Diagnose"
FEATURES = 30
MOST_ROWS = 64
SLOWER_S = 1.0
OFF = "no traces"


class Away:
    """A collector that takes nothing."""

    encoder = ProtobufSpans()
    at_once = 1

    def send(self, *requests: bytes) -> None:
        """Take as long as the sender does before it gives up, and fail."""
        time.sleep(10)
        raise SendFailed("nobody is there")

    def close(self) -> None:
        """Nothing is held."""


class Runner:
    """Stands for Triton: answers after a turn of the event loop."""

    def __init__(self) -> None:
        features = [
            FeatureSpec(name=f"measurement {place}", kind="number", minimum=0.0, maximum=9.0)
            for place in range(FEATURES)
        ]
        self.release = ServedRelease(manifest(LINE, features=features), "fused")
        self.inferences = 0
        self._answers = [
            diagnosed({"numbers": np.ones((rows, FEATURES))}, self.release.manifest)
            for rows in range(1, MOST_ROWS + 1)
        ]

    def only(self, line: str) -> ServedRelease:
        """Return the only release."""
        return self.release

    def find(self, line: str, key: str) -> ServedRelease:
        """Return the only release."""
        return self.release

    choose = find

    def routes(self) -> Sequence[RouteState]:
        """Return no route: nobody asks for health."""
        return ()

    def places(self, line: str) -> int:
        """Return how many batches may be under way."""
        return 2

    async def run(
        self,
        release: ServedRelease,
        tensors: Tensors,
        *,
        outputs: Sequence[str] | None = None,
        timeout_s: float | None,
        trace: Any,
        turn: Turn = SHARED,
    ) -> Mapping[str, Any]:
        """Answer, and tell the trace what a real one is told."""
        self.inferences += 1
        trace.admitted()
        trace.ask(release.model_name, "127.0.0.1:8001")
        await asyncio.sleep(0)
        trace.end()
        answer = self._answers[len(next(iter(tensors.values()))) - 1]
        return {name: answer[name] for name in outputs or answer}


def measurements(runner: Runner) -> bytes:
    """Return a request, as it comes over the wire."""
    values = {one.name: 1.0 for one in runner.release.manifest.features}
    request = pb.DiagnoseRequest(measurements=pb.Measurements(values=values))
    return frame(request.SerializeToString(), compress=False)


@dataclass
class Gateway:
    """One way to trace, and what it took."""

    tracing: Tracing
    recorder: Recorder | None = None
    loop_us: list[float] = field(default_factory=list)
    process_us: list[float] = field(default_factory=list)
    answer: Callable[..., Any] = field(init=False)

    def __post_init__(self) -> None:
        self.runner = Runner()
        services = build_services(self.runner, self.tracing, reflection_enabled=False)
        self.answer = GrpcOverAsgi(services.rpcs.table, 1 << 20).answer
        self.body = measurements(self.runner)

    async def turn(self, calls: int, in_flight: int) -> None:
        """Answer so many calls, so many at a time, and note what a call took."""
        loop = asyncio.get_running_loop()
        left = calls
        scope = {
            "path": PATH,
            "method": "POST",
            "client": ("127.0.0.1", 4711),
            "headers": [(b"content-type", b"application/grpc"), (b"te", b"trailers")],
        }
        event = {"type": "http.request", "body": self.body, "more_body": False}
        trailers = 0

        def receive() -> asyncio.Future[Any]:
            future = loop.create_future()
            future.set_result(event)
            return future

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal trailers
            trailers += message["type"] == "http.response.trailers"

        async def caller() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                # A task for each call, as the server has it.
                await loop.create_task(self.answer(scope, receive, send))

        began, process = time.thread_time_ns(), time.process_time_ns()
        await asyncio.gather(*(caller() for _ in range(in_flight)))
        for _ in range(4):  # what was put off until these were answered is not the next one's
            await asyncio.sleep(0)
        self.loop_us.append((time.thread_time_ns() - began) / 1e3 / calls)
        self.process_us.append((time.process_time_ns() - process) / 1e3 / calls)
        if trailers != calls:
            raise RuntimeError(f"{calls} calls were made, and {trailers} answered")
        if self.recorder is not None:
            self.recorder.fold()


def gateways(names: Sequence[str]) -> dict[str, Gateway]:
    """Return one without traces, and those of these names."""
    source = Source({"service.name": "trident-gateway"}, "trident.gateway")

    def traced(ratio: float, exporter: Any) -> Gateway:
        queue = SpanQueue(exporter, source)
        return Gateway(Tracing([queue], sample_ratio=ratio, keep_slower_s=SLOWER_S))

    def metered() -> Gateway:
        recorder = Recorder()
        return Gateway(Tracing(sink=recorder.sink), recorder)

    made: dict[str, Callable[[], Gateway]] = {
        OFF: lambda: Gateway(Tracing()),
        "none": lambda: traced(0, Nowhere()),
        "10": lambda: traced(0.1, Nowhere()),
        "away": lambda: traced(0.1, Away()),
        "100": lambda: traced(1, Nowhere()),
        "metrics": metered,
    }
    return {name: made[name]() for name in (OFF, *names)}


def median_of(values: Sequence[float], generator: np.random.Generator) -> tuple[float, ...]:
    """Return the median, and its 95 % interval by bootstrap."""
    drawn = generator.choice(np.array(values), (2000, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return statistics.median(values), float(low), float(high)


async def measure(which: Mapping[str, Gateway], rounds: int, calls: int, in_flight: int) -> None:
    """Let all answer in turns, each round in another order."""
    for one in which.values():
        await one.turn(calls, in_flight)
        one.loop_us.clear()
        one.process_us.clear()
    order = list(which.values())
    for _ in range(rounds):
        for one in order:
            await one.turn(calls, in_flight)
        order = [*order[1:], order[0]]


@click.command()
@click.option("--rounds", default=240, show_default=True)
@click.option("--calls", default=640, show_default=True, help="Calls of a turn.")
@click.option("--in-flight", default=64, show_default=True)
@click.option("--only", default="none,10,away,100,metrics", show_default=True)
def main(rounds: int, calls: int, in_flight: int, only: str) -> None:
    """Measure it and print a table."""
    loop = new_event_loop()
    asyncio.set_event_loop(loop)

    async def run() -> dict[str, Gateway]:
        which = gateways(only.split(","))
        settle_garbage()
        await measure(which, rounds, calls, in_flight)
        return which

    which = loop.run_until_complete(run())
    columns = ("", "loop, µs", "more, µs", "process, µs", "more, µs", "calls a batch", "dropped")
    table = Table(*columns, box=box.SIMPLE)
    generator, base = np.random.default_rng(0), which[OFF]
    for name, one in which.items():
        row = [name]
        for own, of_base in ((one.loop_us, base.loop_us), (one.process_us, base.process_us)):
            more = [a - b for a, b in zip(own, of_base, strict=True)]
            middle, low, high = median_of(more, generator)
            row += [f"{statistics.median(own):.1f}", f"{middle:.1f} ({low:.1f}–{high:.1f})"]
        row.append(f"{(rounds + 1) * calls / one.runner.inferences:.1f}")
        row.append(f"{one.tracing.dropped_spans:,}")
        table.add_row(*row)
    Console(stderr=False).print(table)
    for one in which.values():
        one.tracing.shutdown(0)


if __name__ == "__main__":
    main()
