"""What tracing costs, apart from everything else: notes, the spans made of them, Triton's spans.

    .venv/bin/python benchmarks/tracing_cost.py

Calls come in batches, as under load. The first table is CPU time of the event loop, which every
call pays: by the share that is sampled, with errors and slow calls kept in any case. The second is
CPU time that making the spans takes, for each call that is kept, by encoding. The third is
what the supervisor takes to read, place, repair and encode what an embedded Triton sends of a
request to a fused model; calls that travel together share it. Each number is the best of several
rounds in turns, because machines are noisy: run it on an idle core, and compare numbers of one run.
The last table says how late a thread wakes that sleeps 0.3 ms, as an event loop does, while another
makes spans without end: those of calls that are not like most others.
What it does to a gateway's throughput is measured by ``benchmarks/serving``.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from gateway.telemetry.call_spans import CallSpans
from gateway.telemetry.otlp_json import JsonSpans, spans_to_json
from gateway.telemetry.otlp_protobuf import ProtobufSpans
from gateway.telemetry.passage import Passage
from gateway.telemetry.record import CallRecord
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.span import Event, Kind, Source, Span, new_span_id, new_trace_id
from gateway.telemetry.span_encoding import by_source
from gateway.telemetry.span_queue import Limits, SpanQueue
from gateway.telemetry.span_rules import MODEL as MODEL_NAME
from gateway.telemetry.span_rules import ROOT, SCOPE
from gateway.telemetry.trace_context import write_traceparent
from gateway.telemetry.tracing import Tracing, shared_inference
from gateway.telemetry.triton_spans import TritonSpans
from gateway.telemetry.undecided import Undecided

METHOD = "trident.diagnose.v1.DiagnoseService/Diagnose"


@dataclass(frozen=True)
class Release:
    """Who answers."""

    line: str = "diagnose-measurements"
    release: str = "20261125t101629"
    variant: str = "fused"


RELEASE = Release()
MODEL = "diagnose-measurements__20261125t101629__fused"
SLEEP_S = 3e-4
ENCODERS: Mapping[str, Any] = {"JSON, for a file": JsonSpans, "protobuf": ProtobufSpans}


@dataclass
class Caller:
    """A client without headers."""

    method: str = METHOD
    received_ns: int = field(default_factory=time.time_ns)
    trace: Any = None
    way: Passage | None = None

    def header(self, key: str) -> str | None:
        """Return nothing."""
        return None

    def attributes(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

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
    company = []
    for _ in range(size):
        caller = Caller()
        caller.trace = tracing.start_single(caller)
        one = Passage(caller.trace, time.time_ns(), time.time_ns())
        one.caller, one.answerer = caller, RELEASE
        company.append(one)
    left_ns = time.time_ns()
    for one in company:
        one.left_ns = left_ns
    inference = shared_inference(company)
    inference.admitted()
    inference.ask(MODEL, "10.0.0.8:8001")
    inference.end()
    for one in company:
        caller, one.caller = one.caller, None
        trace = caller.trace
        if isinstance(trace, Undecided):
            caller.way = one
            trace.ended_well(caller)
            continue
        if trace.records:
            one.end_ns = time.time_ns()
            trace.set_release(RELEASE)
            trace.went(one)
        trace.finish(0)


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
            pieces, count = made.encode(call)
            some += pieces
            spans += count
        size += len(encoder.request([(source, some)]))
    took = time.thread_time() - started
    return 1e6 * took / len(calls), spans / len(calls), size / len(calls)


class Nowhere:
    """Stands for a file."""

    encoder = JsonSpans()
    at_once = 1

    def send(self, *requests: bytes) -> None:
        """Throw it away."""

    def close(self) -> None:
        """Nothing is held."""


def late_us(calls: list[RecordedCall], wakes: int = 500) -> list[float]:
    """Return how late each waking was while spans of these calls were made, in µs."""
    queue = SpanQueue(Nowhere(), Source({"service.name": "trident-gateway"}), Limits(1 << 40))
    for call in calls:
        queue.put(call)
    late = []
    for _ in range(wakes):
        began = time.perf_counter()
        time.sleep(SLEEP_S)
        late.append(1e6 * (time.perf_counter() - began - SLEEP_S))
    queue.close(60)
    return late


def tritons_spans(number: int) -> Iterator[Span]:
    """Give what Triton sends of a request to a fused model."""
    source = Source({"service.name": "triton"}, SCOPE)
    trace_id, asked, root, model, compute = new_trace_id(), *(new_span_id() for _ in range(4))
    attributes: dict[str, Any] = {
        MODEL_NAME: MODEL,
        "triton.model_version": 1,
        "triton.trace_id": number,
        "triton.trace_parent_id": 0,
        "triton.request_id": write_traceparent(trace_id, asked),
    }
    computing = ("COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END")
    waiting = ("GRPC_WAITREAD_START", "GRPC_WAITREAD_END", "INFER_RESPONSE_COMPLETE",
               "GRPC_SEND_START", "GRPC_SEND_END")  # fmt: skip
    at_ns = time.time_ns()
    for name, own, parent, said, events in (
        ("compute", compute, model, {}, computing),
        (MODEL, model, root, attributes, ("REQUEST_START", "QUEUE_START", "REQUEST_END")),
        (ROOT, root, asked, {}, waiting),
    ):
        happened = [Event(event, at_ns + 1_000 * place) for place, event in enumerate(events)]
        yield Span(source, trace_id, own, parent, name, Kind.SERVER, at_ns, at_ns + 900_000,
                   said, happened)  # fmt: skip


def repair(encoder: Any, sent: bytes, requests: int) -> tuple[float, float]:
    """Return µs and bytes of a request that Triton traced, on their way through the supervisor."""
    started = time.thread_time()
    passed: list[Span] = []
    TritonSpans(passed.extend)(json.loads(sent))
    size = len(encoder.request(by_source(encoder, passed).items()))
    return 1e6 * (time.thread_time() - started) / requests, size / requests


@click.command()
@click.option("--size", default=14, show_default=True, help="Calls of a batch.")
@click.option("--batches", default=500, show_default=True, help="Batches of a round.")
@click.option("--rounds", default=7, show_default=True)
def main(size: int, batches: int, rounds: int) -> None:
    """Measure it and print four tables."""
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
        "spans as", "CPU µs a call", "spans", "bytes", box=box.SIMPLE, title="Spans of them"
    )
    for name, encoder in ENCODERS.items():  # of the last round, which sampled all
        took, spans, length = min(encode(encoder(), kept.calls) for _ in range(rounds))
        table.add_row(name, f"{took:.1f}", f"{spans:.1f}", f"{length:.0f}")
    console.print(table)
    table = Table("supervisor", "CPU µs a request", "bytes", box=box.SIMPLE, title="Triton's spans")
    requests = 170  # as many as Triton sends at a time
    sent = spans_to_json(one for number in range(requests) for one in tritons_spans(number))
    for name, encoder in ENCODERS.items():
        took, length = min(repair(encoder(), sent, requests) for _ in range(2 * rounds))
        table.add_row(name, f"{took:.1f}", f"{length:.0f}")
    console.print(table)
    table = Table(
        "beside it", "p50, µs", "p90, µs", box=box.SIMPLE, title="How late a thread wakes"
    )
    enough = kept.calls * (1 + 60_000 // len(kept.calls))
    for name, some in (("nothing", []), ("spans are made", enough)):
        deciles = statistics.quantiles(late_us(some), n=10)
        table.add_row(name, f"{deciles[4]:.0f}", f"{deciles[8]:.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
