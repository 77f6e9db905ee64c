from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fake_runner import FakeCall
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.telemetry.building import build_tracing, process_source
from gateway.telemetry.otlp_json import json_to_spans
from gateway.telemetry.receiver import OtlpReceiver
from gateway.telemetry.span import Kind, Span
from gateway.telemetry.trace_file import TraceFile
from gateway.telemetry.tracing import Tracing
from gateway.telemetry.triton_spans import TritonSpans
from gateway.trace_cli import trace
from gateway.triton.client import TritonClient
from gateway.triton.tensors import arrays_to_request
from triton_models.server import EmbeddedTriton

pytestmark = pytest.mark.contract

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
UNSAMPLED = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}


@dataclass
class Watched:
    """The way of Triton's spans, with what went by."""

    tracing: Tracing
    file: Path
    sent: list[Span] = field(default_factory=list)
    passed: list[Span] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    client: TritonClient | None = None

    def __post_init__(self) -> None:
        self.triton_spans = TritonSpans(self._pass)
        self._loop = asyncio.get_running_loop()

    def receive(self, content: Any) -> None:
        """Take spans as Triton sends them, on a thread."""
        self.sent.extend(json_to_spans(content))
        self.triton_spans(content)
        self._loop.call_soon_threadsafe(self.news.set)

    async def wait_for_requests(self, count: int) -> None:
        """Wait until Triton has sent all spans of some requests."""
        async with asyncio.timeout(30):
            while sum(span.name == "InferRequest" for span in self.sent) < count:
                self.news.clear()
                await self.news.wait()

    async def infer(self, metadata: dict[str, str]) -> None:
        """Ask Triton as the gateway does for a call with this metadata."""
        assert self.client is not None
        start_ns = time.time_ns()
        call = self.tracing.start_call(FakeCall(METHOD, metadata, received_ns=start_ns))
        letters = np.array([[b"a", b"b"]], dtype=np.object_)
        request = arrays_to_request("letters", {"letters": letters}, None)
        call.add_stage("decode", start_ns, time.time_ns())
        inference = call.inference()
        inference.admitted()
        headers = inference.ask("letters")
        request.id = headers.get("traceparent", "")
        await self.client.infer(request, timeout_s=10, headers=headers)
        inference.end()
        call.finish(0)

    def _pass(self, spans: Sequence[Span]) -> None:
        self.passed.extend(spans)
        self.tracing.export(spans)


@pytest.fixture
async def watched(letters_models: Path, tmp_path: Path) -> AsyncIterator[Watched]:
    """A Triton that sends its spans to us, with ``letters`` loaded."""
    file = tmp_path / "trident.jsonl"
    watched = Watched(build_tracing(traces_file=file, environment={}), file)
    receiver = OtlpReceiver(watched.receive)
    await receiver.start()
    triton = EmbeddedTriton(letters_models, otlp_traces_url=receiver.url)
    await asyncio.to_thread(triton.start)
    try:
        await asyncio.to_thread(triton.wait_ready)
        watched.client = TritonClient(triton.target)
        for name in ("letters__encode", "letters__decode", "letters"):
            await watched.client.load(name, 20)
        yield watched
        await watched.client.close()
    finally:
        # On a thread: Triton sends its last spans to this loop.
        await asyncio.to_thread(triton.stop)
        await receiver.stop()
        watched.tracing.shutdown()


def shown(file: Path, *words: str) -> Any:
    """What ``gateway trace show --json`` prints."""
    done = CliRunner().invoke(trace, ["show", "--json", "--file", str(file), *words])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def outline(span: dict[str, Any]) -> Any:
    """Names and models of a span and all below it."""
    name = span["attributes"].get("triton.model_name", span["name"])
    return (name, [outline(child) for child in span["children"]]) if span["children"] else name


def flatten(span: dict[str, Any]) -> list[dict[str, Any]]:
    return [span, *(one for child in span["children"] for one in flatten(child))]


def as_ours(span: ReadableSpan) -> Span:
    """A span of the SDK, to be written beside those of the gateway."""
    return Span(
        process_source("trident-client", "client"), span.context.trace_id, span.context.span_id,
        0, span.name, Kind.CLIENT, span.start_time or 0, span.end_time or 0,
    )  # fmt: skip


async def test_one_inference_is_one_tree_down_to_each_steps_queue_and_compute(
    watched: Watched,
) -> None:
    # The client is another program, which traces with OpenTelemetry's SDK.
    finished = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(finished))
    headers: dict[str, str] = {}
    with provider.get_tracer("client").start_as_current_span(METHOD, kind=SpanKind.CLIENT):
        TraceContextTextMapPropagator().inject(headers)
        await watched.infer(headers)
    (theirs,) = finished.get_finished_spans()
    TraceFile(watched.file).write([as_ours(theirs)])
    await watched.wait_for_requests(1)
    watched.tracing.shutdown()

    trace_id = f"{theirs.context.trace_id:032x}"
    tree = shown(watched.file)
    assert tree["trace_id"] == trace_id
    (root,) = tree["spans"]
    step = ["queue", "compute"]
    models = [("letters__encode", step), ("letters__decode", step)]
    triton = ("InferRequest", [("letters", models)])
    called = ("inference.GRPCInferenceService/ModelInfer", [triton])
    assert outline(root) == (METHOD, [(METHOD, ["decode", called])])
    spans = flatten(root)
    assert {one["trace_id"] for one in spans} == {trace_id}
    assert {one["service"] for one in spans} == {"trident-client", "trident-gateway", "triton"}
    for one in spans:
        for child in one["children"]:
            assert child["parent_span_id"] == one["span_id"]
            assert child["start_ns"] >= one["start_ns"]
    steps = {one["attributes"].get("triton.model_name"): one for one in spans}
    for model in ("letters__encode", "letters__decode"):
        queue, compute = steps[model]["children"]
        assert queue["start_ns"] + round(queue["duration_ms"] * 1e6) <= compute["start_ns"] + 1
        assert compute["duration_ms"] > 0


async def test_a_step_has_the_events_that_queue_and_compute_are_read_from(
    watched: Watched,
) -> None:
    await watched.infer({})
    await watched.wait_for_requests(1)
    events: dict[str, list[str]] = {
        str(one.attributes.get("triton.model_name", one.name)): [event.name for event in one.events]
        for one in watched.sent
    }
    of_model = ["REQUEST_START", "QUEUE_START", "REQUEST_END"]
    assert events.pop("InferRequest")
    assert events == {
        "letters": of_model,
        "letters__encode": of_model,
        "letters__decode": of_model,
        "compute": ["COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END"],
    }


async def test_every_sampled_call_finds_tritons_spans_and_no_other_leaves_any(
    watched: Watched,
) -> None:
    sampled, calls = 30, 60
    for number in range(calls):
        await watched.infer({} if number % 2 else UNSAMPLED)
    await watched.wait_for_requests(calls)
    watched.tracing.shutdown()

    roots = [one for one in watched.passed if one.name == "InferRequest"]
    assert len(roots) == sampled
    assert len({one.trace_id for one in roots}) == sampled
    for root in roots:
        (server,) = shown(watched.file, f"{root.trace_id:032x}")["spans"]
        names = [one["name"] for one in flatten(server)]
        assert server["name"] == METHOD
        assert names.count("compute") == names.count("queue") == 2
    assert "a" * 32 not in watched.file.read_text()
