"""What tracing costs a call, apart from everything else: the notes, and the spans made of them.

    .venv/bin/python benchmarks/tracing_cost.py

Calls come in batches, as under load. The first table is CPU time of the event loop, which every
call pays: by the share that is sampled, with errors and slow calls kept in any case. The second is
CPU time of the thread that makes the spans, for each call that is kept, by encoding. Each number is
the best of several rounds in turns, because machines are noisy: run it on an idle core, and compare
numbers of one run. What it does to a gateway's throughput is measured by ``benchmarks/serving``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from gateway.telemetry.call_spans import CallSpans
from gateway.telemetry.otlp_json import JsonSpans
from gateway.telemetry.otlp_protobuf import ProtobufSpans
from gateway.telemetry.record import CallRecord
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.span import Source
from gateway.telemetry.tracing import Tracing, shared_inference

METHOD = "trident.diagnose.v1.DiagnoseService/Diagnose"
RELEASE = ("diagnose-measurements", "20261125t101629", "fused")
MODEL = "diagnose-measurements__20261125t101629__fused"
ENCODERS: Mapping[str, Any] = {"JSON, for a file": JsonSpans, "protobuf": ProtobufSpans}


@dataclass
class Caller:
    """A client without headers."""

    method: str = METHOD
    received_ns: int = field(default_factory=time.time_ns)

    def header(self, key: str) -> str | None:
        """Return nothing."""
        return None

    def peer(self) -> str:
        """Return an address, the same for all."""
        return "ipv4:127.0.0.1:4711"


class Kept:
    """Stands for the queue of an exporter."""

    dropped = sent = 0

    def __init__(self) -> None:
        self.calls: list[RecordedCall] = []

    def put(self, call: RecordedCall) -> None:
        """Keep it."""
        self.calls.append(call)

    def stop_taking(self) -> None:
        """Nothing is sent."""

    def close(self, timeout_s: float) -> bool:
        """Nothing is left."""
        return True


def ignore(call: CallRecord) -> None:
    """Stands for metrics."""


def one_batch(tracing: Tracing, size: int) -> None:
    """What the gateway tells of calls that travel together."""
    calls = []
    for _ in range(size):
        call = tracing.start_call(Caller())
        start_ns = time.time_ns()
        call.add_stage("decode", start_ns, time.time_ns())
        call.set_release(*RELEASE)
        calls.append((call, time.time_ns()))
    left_ns = time.time_ns()
    for call, asked_ns in calls:
        call.add_stage("queue", asked_ns, left_ns)
    inference = shared_inference([call for call, _ in calls])
    inference.admitted()
    inference.ask(MODEL)
    inference.end()
    for call, _ in calls:
        call.add_stage("encode", left_ns, time.time_ns())
        call.finish(0)


def notes_us(tracing: Tracing, size: int, batches: int) -> float:
    """Return what the notes of a call cost, in µs."""
    started = time.thread_time()
    for _ in range(batches):
        one_batch(tracing, size)
    return 1e6 * (time.thread_time() - started) / (size * batches)


def encode(encoder: Any, calls: list[RecordedCall]) -> tuple[float, float, float]:
    """Return µs, spans and bytes of a call, as the thread encodes them: some 1,000 a request."""
    made, source = CallSpans(encoder), Source({"service.name": "trident-gateway"})
    spans = size = 0
    started = time.thread_time()
    for place in range(0, len(calls), 200):
        some: list[Any] = []
        for call in calls[place : place + 200]:
            some += made.encode(call)
        spans += len(some)
        size += len(encoder.request([(source, some)]))
    took = time.thread_time() - started
    return 1e6 * took / len(calls), spans / len(calls), size / len(calls)


@click.command()
@click.option("--size", default=14, show_default=True, help="Calls of a batch.")
@click.option("--batches", default=500, show_default=True, help="Batches of a round.")
@click.option("--rounds", default=7, show_default=True)
def main(size: int, batches: int, rounds: int) -> None:
    """Measure it and print two tables."""
    kept = Kept()
    queues: Any = [kept]
    how = {
        "no exporter, no metrics": Tracing(),
        "no exporter, metrics": Tracing(sink=ignore),
        **{
            f"{ratio:.0%} sampled": Tracing(queues, sample_ratio=ratio, keep_slower_s=1)
            for ratio in (0.0, 0.1, 1.0)
        },
    }
    notes = dict.fromkeys(how, float("inf"))
    for _ in range(rounds):
        for name, tracing in how.items():
            kept.calls = []
            notes[name] = min(notes[name], notes_us(tracing, size, batches))
    console = Console(stderr=False)
    table = Table(
        "event loop", "CPU µs a call", box=box.SIMPLE, title=f"Notes, {size} calls a batch"
    )
    for name, took in notes.items():
        table.add_row(name, f"{took:.2f}")
    console.print(table)
    table = Table(
        "thread", "CPU µs a call", "spans", "bytes", box=box.SIMPLE, title="Spans of them"
    )
    for name, encoder in ENCODERS.items():  # of the last round, which sampled all
        took, spans, length = min(encode(encoder(), kept.calls) for _ in range(rounds))
        table.add_row(name, f"{took:.1f}", f"{spans:.1f}", f"{length:.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
