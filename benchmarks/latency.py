"""How long each RPC takes through the gateway, and the same inference asked of Triton directly.

    .venv/bin/python benchmarks/latency.py --store .demo/store

One client, one call at a time. Both are asked over gRPC by the same process, in turns within one
run, with the rows of the releases' own test splits: machines are noisy, so the ratio is what can
be compared between runs. What Triton is asked is the very model that the gateway asks, with the
tensors that it makes of the request, made beforehand; every answer is compared before anything
is measured. Tracing is off.

Needs a store with the three lines, such as the one that ``make demo`` leaves.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import click
import grpc
import numpy as np
import pyarrow.parquet as pq
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tritonclient.grpc import service_pb2_grpc

from gateway.domains import diagnose, recommend, risk
from gateway.domains.domain import requests_to_tensors
from gateway.triton.tensors import arrays_to_request, response_to_arrays
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose_pb
from trident.recommend.v1 import recommend_service_pb2 as recommend_pb
from trident.risk.v1 import risk_service_pb2 as risk_pb
from triton_models.release import Manifest
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from batches_and_streams import diagnose_request, recommend_request, risk_request

READY_S = 60
TIMEOUT_S = 30
ROW_COUNT = 64
"""Different rows asked, so that nothing is measured that is only ever one request."""


@dataclass(frozen=True)
class Line:
    """One line, and how it is asked."""

    name: str
    rpc: str
    domain: Any
    messages: Any
    request_of: Callable[[int, Any], Any]
    service: str


LINES = (
    Line("recommend", "Recommend", recommend, recommend_pb, recommend_request,
         "trident.recommend.v1.RecommendService"),
    Line("diagnose-measurements", "Diagnose", diagnose, diagnose_pb, diagnose_request,
         "trident.diagnose.v1.DiagnoseService"),
    Line("score-risk", "ScoreRisk", risk, risk_pb, risk_request,
         "trident.risk.v1.RiskService"),
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One RPC: percentiles of its time in milliseconds, and their ratio to Triton's."""

    rpc: str
    rows: int
    calls: int
    gateway_p50_ms: float
    gateway_p99_ms: float
    triton_p50_ms: float
    triton_p99_ms: float
    ratio_p50: float
    ratio_p99: float


@dataclass(frozen=True)
class Contest:
    """The two ways to ask for the same."""

    rpc: str
    rows: int
    gateway: Callable[[int], None]
    triton: Callable[[int], None]


class Opponents:
    """Clients of a gateway and of the Triton behind it, for one line."""

    def __init__(
        self, line: Line, store: ReleaseStore, gateway: grpc.Channel, triton: grpc.Channel
    ):
        _, routes = store.routes()
        release = routes.lines[line.name][0].release
        self._line = line
        self._gateway = gateway
        self._infer = service_pb2_grpc.GRPCInferenceServiceStub(triton).ModelInfer
        self._manifest: Manifest = store.manifest(line.name, release)
        answers = Path(store.report_path(line.name, release)) / "answers.parquet"
        rows = pq.read_table(answers).to_pylist()
        self._requests = [line.request_of(n, rows[n % len(rows)]) for n in range(ROW_COUNT)]

    def contests(self, batch: int) -> Iterator[Contest]:
        """Give the RPCs of the line, each checked to be answered as Triton answers."""
        singles = [[request] for request in self._requests]
        batches = [
            [self._requests[(start + n) % ROW_COUNT] for n in range(batch)]
            for start in range(0, ROW_COUNT, 8)
        ]
        yield self._contest("", singles, self._unary(singles))
        yield self._contest("Batch", batches, self._batched(batches))
        yield self._contest("Stream", singles, self._streamed())

    def _contest(
        self, form: str, groups: Sequence[Sequence[Any]], ask: Callable[[int], Sequence[Message]]
    ) -> Contest:
        variant = next(iter(ask(0))).model.variant
        inferences = [self._inference(group, variant) for group in groups]
        for number, group in enumerate(groups):
            response = self._infer(inferences[number], timeout=TIMEOUT_S)
            answer = response_to_arrays(response, len(group))
            answers = list(ask(number))
            expected = self._line.domain.tensors_to_responses(
                answer, group, self._manifest, answers[0].model
            )
            if answers != expected:
                raise SystemExit(
                    f"{form}{self._line.rpc}: the gateway answers otherwise than Triton"
                )
        return Contest(
            rpc=f"{form}{self._line.rpc}",
            rows=len(groups[0]),
            gateway=lambda n: void(ask(n % len(groups))),
            triton=lambda n: void(self._infer(inferences[n % len(groups)], timeout=TIMEOUT_S)),
        )

    def _inference(self, group: Sequence[Any], variant: str) -> Any:
        domain = self._line.domain
        tensors = requests_to_tensors(domain, group, self._manifest)
        outputs = domain.wanted_outputs(group)
        return arrays_to_request(self._manifest.model_of(variant), tensors, outputs)

    def _method(self, form: str, kind: str) -> Any:
        response = getattr(self._line.messages, f"{form}{self._line.rpc}Response")
        return getattr(self._gateway, kind)(
            f"/{self._line.service}/{form}{self._line.rpc}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def _unary(self, singles: Sequence[Sequence[Any]]) -> Callable[[int], Sequence[Message]]:
        method = self._method("", "unary_unary")
        return lambda n: [method(singles[n][0], timeout=TIMEOUT_S)]

    def _batched(self, batches: Sequence[Sequence[Any]]) -> Callable[[int], Sequence[Message]]:
        method = self._method("Batch", "unary_unary")
        message = getattr(self._line.messages, f"Batch{self._line.rpc}Request")
        requests = [message(requests=group) for group in batches]
        return lambda n: method(requests[n], timeout=TIMEOUT_S).responses

    def _streamed(self) -> Callable[[int], Sequence[Message]]:
        """One stream stays open: an element is sent, its answer awaited, then the next."""
        message = getattr(self._line.messages, f"Stream{self._line.rpc}Request")
        requests = [message(request=request) for request in self._requests]
        outgoing: SimpleQueue[Any] = SimpleQueue()
        answers = self._method("Stream", "stream_stream")(iter(outgoing.get, None))

        def ask(n: int) -> Sequence[Message]:
            outgoing.put(requests[n])
            return [next(answers).response]

        return ask


def void(_: object) -> None:
    """Drop an answer."""


def measure(contest: Contest, rounds: int, calls: int) -> Measured:
    """Ask both, in turns of ``calls``; the order changes from round to round."""
    times: dict[str, list[float]] = {"gateway": [], "triton": []}
    for number in range(rounds):
        sides = [("gateway", contest.gateway), ("triton", contest.triton)]
        for side, ask in sides if number % 2 else reversed(sides):
            ask(0)  # the first after the other's turn finds cold caches
            for call in range(calls):
                start = time.perf_counter()
                ask(call)
                times[side].append(1000 * (time.perf_counter() - start))
    g50, g99 = np.percentile(times["gateway"], [50, 99]).tolist()
    t50, t99 = np.percentile(times["triton"], [50, 99]).tolist()
    return Measured(
        contest.rpc, contest.rows, rounds * calls, g50, g99, t50, t99, g50 / t50, g99 / t99
    )


@contextmanager
def serving(store: Path, triton: EmbeddedTriton) -> Iterator[str]:
    """Run ``gateway serve`` before a running Triton; give its address."""
    gateway = Path(sys.executable).parent / "gateway"
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [gateway, "serve", "--triton", triton.target, "--store", store,
             "--listen", "127.0.0.1:0"],
            stderr=log,
        )  # fmt: skip
        try:
            yield wait_serving(process, log)
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_serving(process: subprocess.Popen[bytes], log: Any) -> str:
    """Return the gateway's address once everything serves."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        log.seek(0)
        addresses = [line.split()[1] for line in log if line.startswith("Gateway ")]
        if addresses and all_serve(addresses[0]):
            return addresses[0]
        time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"the gateway does not serve:\n{log.read()}")


def all_serve(address: str) -> bool:
    """Return whether every routed domain serves."""
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def show(console: Console, results: Sequence[Measured]) -> None:
    """Print the results for people."""
    calls = results[0].calls
    title = f"p50 and p99 in ms, one call at a time, {calls} of each"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title)
    table.add_column("RPC", no_wrap=True)
    for column in ("rows", "gateway", "", "Triton", "", "ratio", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for one in results:
        table.add_row(
            one.rpc, str(one.rows),
            f"{one.gateway_p50_ms:.2f}", f"{one.gateway_p99_ms:.2f}",
            f"{one.triton_p50_ms:.2f}", f"{one.triton_p99_ms:.2f}",
            f"{one.ratio_p50:.2f}", f"{one.ratio_p99:.2f}",
        )  # fmt: skip
    console.print(table)


@click.command()
@click.option(
    "--store",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(".demo/store"),
    show_default=True,
)
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1))
@click.option("--calls", default=50, show_default=True, type=click.IntRange(1), help="A round.")
@click.option("--batch", default=100, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(store: Path, rounds: int, calls: int, batch: int, as_json: bool) -> None:
    """Compare each RPC with the same inference asked of Triton directly."""
    console = Console(stderr=as_json)
    releases = ReleaseStore(store)
    missing = {line.name for line in LINES} - releases.routes()[1].lines.keys()
    if missing:
        raise click.UsageError(f"{store} routes no release of {', '.join(sorted(missing))}")
    results = []
    with EmbeddedTriton(Path(releases.models_path)) as triton:
        triton.wait_ready()
        with serving(store, triton) as address, grpc.insecure_channel(address) as gateway, \
             grpc.insecure_channel(triton.target) as direct:  # fmt: skip
            contests = [
                contest
                for line in LINES
                for contest in Opponents(line, releases, gateway, direct).contests(batch)
            ]
            for contest in track(contests, "measuring", console=Console(stderr=True)):
                results.append(measure(contest, rounds, calls))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in results]))
    else:
        show(console, results)


if __name__ == "__main__":
    main()
