"""What counting a call costs: on the event loop, on the thread beside it, and by other means.

    .venv/bin/python benchmarks/metrics_cost.py

Calls as the gateway has them (five stages, a batch, one in ten with a trace) are counted in turns
within one run: not at all; by the gateway, whose event loop only keeps the record and whose thread
counts it later; and at once, one value after the other, with prometheus_client and with
OpenTelemetry's SDK, into the same histograms. Processor time of the thread that does it, so other
processes matter little; the ratio is what can be compared between machines.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import click
from google.rpc import code_pb2
from opentelemetry.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Counter, Histogram
from rich import box
from rich.console import Console
from rich.table import Table

from gateway.telemetry.metrics.grid import SECONDS, SIZES
from gateway.telemetry.metrics.instruments import CALL_DURATION
from gateway.telemetry.metrics.recorder import Recorder
from gateway.telemetry.record import CallRecord

RELEASES = [("score-risk", "r1"), ("score-risk", "r2"), ("recommend", "r7")]
STAGES = ("decode", "queue", "admission", "batch", "encode")
TRACED = 0.1
START_NS = 1_700_000_000_000_000_000

Count = Callable[[Sequence[CallRecord]], None]
Way = Callable[[], Count]
"""Gives what counts calls, with nothing counted yet."""


@dataclass(frozen=True)
class Cost:
    """What counting one call takes, in µs of the processor, medians of the rounds."""

    way: str
    calls: int
    us: float
    ratio: float
    """To all that the gateway does."""


def make_calls(count: int) -> list[CallRecord]:
    """Return calls that differ as real ones do."""
    chance = random.Random(1)
    return [_make_call(chance, number) for number in range(count)]


def _make_call(chance: random.Random, number: int) -> CallRecord:
    call = CallRecord("trident.risk.v1.RiskService/ScoreRisk", START_NS + number * 100_000)
    now = call.start_ns
    for name in STAGES:
        end = now + round(chance.expovariate(1 / 1e6))
        call.stages.append((name, now, end))
        now = end
    call.end_ns = now
    call.line, call.release = chance.choice(RELEASES)
    call.variant = "fused"
    call.batch_calls = call.batch_rows = chance.randint(1, 32)
    call.code = code_pb2.UNAVAILABLE if chance.random() < 0.01 else code_pb2.OK
    call.trace_id = chance.getrandbits(128) if chance.random() < TRACED else 0
    return call


def nothing() -> Count:
    """The loop alone."""

    def count(calls: Sequence[CallRecord]) -> None:
        for call in calls:
            call.code  # noqa: B018 - what every way does at least

    return count


def sink() -> Count:
    """What the gateway does where a call ends."""
    recorder = Recorder(max_pending=1 << 30)

    def count(calls: Sequence[CallRecord]) -> None:
        take = recorder.sink
        for call in calls:
            take(call)

    return count


def sink_and_fold() -> Count:
    """All that the gateway does."""
    recorder = Recorder(max_pending=1 << 30)

    def count(calls: Sequence[CallRecord]) -> None:
        take = recorder.sink
        for call in calls:
            take(call)
        recorder.fold()
        counted = sum(one.count for one in recorder.take().histograms[CALL_DURATION].values())
        if counted != len(calls):
            raise AssertionError(f"{counted} of {len(calls)} calls were counted")

    return count


def prometheus() -> Count:
    """prometheus_client, its labels looked up for each value, explicit buckets only."""
    registry = CollectorRegistry()
    of_release = ("line", "release", "variant")
    duration = Histogram(
        "call", "…", ("method", "code", *of_release), registry=registry, buckets=SECONDS.explicit
    )
    stage = Histogram(
        "stage", "…", ("stage", "method", *of_release), registry=registry, buckets=SECONDS.explicit
    )
    batch_calls = Histogram("calls", "…", of_release, registry=registry, buckets=SIZES.explicit)
    batch_rows = Histogram("rows", "…", of_release, registry=registry, buckets=SIZES.explicit)
    inferences = Counter("inferences", "…", of_release, registry=registry)

    def count(calls: Sequence[CallRecord]) -> None:
        for call in calls:
            release = (call.line, call.release, call.variant)
            code = code_pb2.Code.Name(call.code)
            seconds = (call.end_ns - call.start_ns) / 1e9
            exemplar = {"trace_id": f"{call.trace_id:032x}"} if call.trace_id else None
            duration.labels(call.method, code, *release).observe(seconds, exemplar)
            for name, start, end in call.stages:
                series = stage.labels(name, call.method, *release)
                series.observe((end - start) / 1e9, exemplar)
            batch_calls.labels(*release).observe(call.batch_calls)
            batch_rows.labels(*release).observe(call.batch_rows)
            inferences.labels(*release).inc(1 / call.batch_calls)

    return count


def opentelemetry() -> Count:
    """OpenTelemetry's SDK, explicit buckets."""
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("benchmark")

    def histogram(name: str, bounds: Sequence[float]) -> SdkHistogram:
        return meter.create_histogram(name, explicit_bucket_boundaries_advisory=list(bounds))

    duration, stage = histogram("call", SECONDS.explicit), histogram("stage", SECONDS.explicit)
    batch_calls, batch_rows = histogram("calls", SIZES.explicit), histogram("rows", SIZES.explicit)
    inferences = meter.create_counter("inferences")

    def count(calls: Sequence[CallRecord]) -> None:
        for call in calls:
            release = {"line": call.line, "release": call.release, "variant": call.variant}
            code = code_pb2.Code.Name(call.code)
            of_call = {"method": call.method, "code": code, **release}
            duration.record((call.end_ns - call.start_ns) / 1e9, of_call)
            for name, start, end in call.stages:
                of_stage = {"stage": name, "method": call.method, **release}
                stage.record((end - start) / 1e9, of_stage)
            batch_calls.record(call.batch_calls, release)
            batch_rows.record(call.batch_rows, release)
            inferences.add(1 / call.batch_calls, release)

    return count


OURS = "gateway: sink and thread"
WAYS: dict[str, Way] = {
    "nothing": nothing,
    "gateway: sink, on the event loop": sink,
    OURS: sink_and_fold,
    "prometheus_client, at once": prometheus,
    "OpenTelemetry SDK, at once": opentelemetry,
}


def compare(calls: int, rounds: int) -> list[Cost]:
    """Return what each way costs, all in turns."""
    made = make_calls(calls)
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(rounds + 1):
        for name, way in WAYS.items():
            count = way()
            start = time.thread_time()
            count(made)
            if number:  # the first one warms up
                taken[name].append((time.thread_time() - start) / calls * 1e6)
    ours = statistics.median(taken[OURS])
    return [
        Cost(name, calls * rounds, statistics.median(us), statistics.median(us) / ours)
        for name, us in taken.items()
    ]


@click.command()
@click.option("--calls", default=20_000, show_default=True, type=click.IntRange(1), help="A round.")
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(calls: int, rounds: int, as_json: bool) -> None:
    """Compare ways to count calls."""
    results = compare(calls, rounds)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in results]))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="processor time of a call, in µs")
    table.add_column("way")
    table.add_column("µs", justify="right")
    table.add_column("ratio", justify="right")
    for one in results:
        table.add_row(one.way, f"{one.us:.2f}", f"{one.ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
