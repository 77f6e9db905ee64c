from __future__ import annotations

import inspect
from collections.abc import Mapping

import pytest
from google.rpc import code_pb2
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from span_makers import CLIENT_SPAN_ID, SAMPLED, TRACEPARENT, UNSAMPLED, span

from gateway.telemetry.batch_trace import BatchTrace
from gateway.telemetry.sampled_call import SampledCall
from gateway.telemetry.tracing import NO_TRACE, CallTrace, Tracing

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
Spans = dict[str, ReadableSpan]


def finished(exporter: InMemorySpanExporter) -> Spans:
    return {span.name: span for span in exporter.get_finished_spans()}


def one_call(tracing: Tracing, metadata: Mapping[str, str]) -> Mapping[str, str]:
    """A whole call; returns the headers for Triton."""
    call = tracing.start_call(METHOD, metadata, lambda: "ipv4:10.0.0.7:4711", start_ns=1_000)
    with call.stage("decode", 1_000):
        pass
    with call.stage("queue"):
        pass
    call.set_release("score-risk", "a1", "ensemble")
    call.set_attribute("trident.batch.size", 3)
    with call.triton_call("score-risk__a1") as headers:
        pass
    with call.stage("encode"):
        pass
    call.finish(code_pb2.OK)
    return headers


def test_the_stages_and_the_call_to_triton_lie_below_the_server_span(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    one_call(tracing, {})
    spans = finished(exporter)
    server = spans[METHOD]
    below = {
        "decode": SpanKind.INTERNAL,
        "queue": SpanKind.INTERNAL,
        "inference.GRPCInferenceService/ModelInfer": SpanKind.CLIENT,
        "encode": SpanKind.INTERNAL,
    }
    assert {name: spans[name].kind for name in below} == below
    assert set(spans) == {METHOD, *below}
    for name in below:
        parent = spans[name].parent
        assert parent is not None
        assert parent.span_id == server.context.span_id
    assert server.kind is SpanKind.SERVER
    assert server.parent is None


def test_times_are_those_that_were_given(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    one_call(tracing, {})
    spans = finished(exporter)
    assert spans[METHOD].start_time == spans["decode"].start_time == 1_000
    assert (spans["queue"].start_time or 0) >= (spans["decode"].end_time or 0) > 1_000


def test_another_programs_traceparent_is_the_parent(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    foreign: dict[str, str] = {}
    context = SpanContext(0xABC, 0xDEF, False, SAMPLED)
    other = set_span_in_context(NonRecordingSpan(context))
    TraceContextTextMapPropagator().inject(foreign, other)
    one_call(tracing, foreign)
    server = finished(exporter)[METHOD]
    assert server.context.trace_id == 0xABC
    assert server.parent is not None
    assert server.parent.span_id == 0xDEF
    assert server.parent.is_remote


def test_an_unsampled_call_has_no_span_and_no_headers(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    assert one_call(tracing, {"traceparent": UNSAMPLED, "baggage": "tenant=blue"}) == {}
    assert exporter.get_finished_spans() == ()
    assert tracing.start_call(METHOD, {"traceparent": UNSAMPLED}) is NO_TRACE


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-01", "00-" + "0" * 32 + "-1-01"])
def test_a_malformed_traceparent_starts_a_trace_of_its_own(
    header: str, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    one_call(tracing, {"traceparent": header})
    assert finished(exporter)[METHOD].parent is None


def test_without_a_provider_nothing_is_traced() -> None:
    assert one_call(Tracing(None), {"traceparent": TRACEPARENT}) == {}


def test_spans_of_another_process_go_where_ours_go(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    foreign = span("InferRequest", 5, CLIENT_SPAN_ID, service="triton")
    tracing.export([foreign])
    assert exporter.get_finished_spans() == (foreign,)


def test_the_span_that_is_current_in_the_process_is_no_parent(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with use_span(NonRecordingSpan(SpanContext(0xABC, 0xDEF, False, SAMPLED))):
        tracing.start_call(METHOD, {}).finish(code_pb2.OK)
    assert finished(exporter)[METHOD].parent is None


@pytest.mark.parametrize(
    "implementation",
    [SampledCall, type(NO_TRACE), BatchTrace],
    ids=["sampled", "not sampled", "batch"],
)
def test_every_trace_takes_what_the_protocol_says(implementation: type) -> None:
    names = [name for name, value in vars(CallTrace).items() if inspect.isfunction(value)]
    names = [name for name in names if not name.startswith("_")]
    assert len(names) == 6
    for name in names:
        wanted = inspect.signature(getattr(CallTrace, name)).parameters
        given = inspect.signature(getattr(implementation, name)).parameters
        assert list(given)[: len(wanted)] == list(wanted)
        for further in list(given)[len(wanted) :]:
            assert given[further].default is not inspect.Parameter.empty
    assert hasattr(implementation, "sampled")
