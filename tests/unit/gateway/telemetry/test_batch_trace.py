from __future__ import annotations

import pytest
from google.rpc import code_pb2
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from gateway.telemetry.batch_trace import BATCH, batch_trace
from gateway.telemetry.tracing import NO_TRACE, CallTrace, Tracing

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
MODEL = "score-risk__a1__fused"


@pytest.fixture
def calls(tracing: Tracing) -> list[CallTrace]:
    """Three sampled calls, each with a trace of its own."""
    return [tracing.start_call(METHOD, {}) for _ in range(3)]


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def client_span(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = (s for s in exporter.get_finished_spans() if s.kind is SpanKind.CLIENT)
    return span


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def test_an_inference_for_several_calls_has_one_client_span_and_each_call_a_span_for_it(
    calls: list[CallTrace], exporter: InMemorySpanExporter
) -> None:
    with batch_trace(calls, 5).triton_call(MODEL) as headers:
        pass
    client, batches = client_span(exporter), named(exporter, BATCH)
    assert len({trace_id(span) for span in batches}) == 3
    assert headers["traceparent"].split("-")[1] == f"{trace_id(client):032x}"
    assert client.attributes is not None
    assert client.attributes["trident.model"] == MODEL
    assert client.attributes["trident.batch.calls"] == 5


def test_each_call_finds_the_client_span_below_its_own_or_by_a_link(
    calls: list[CallTrace], exporter: InMemorySpanExporter
) -> None:
    with batch_trace(calls, 3).triton_call(MODEL):
        pass
    client, batches = client_span(exporter), named(exporter, BATCH)
    (host,) = (span for span in batches if trace_id(span) == trace_id(client))
    mates = [span for span in batches if span is not host]
    assert client.parent == host.context
    assert not host.links
    assert [[link.context for link in mate.links] for mate in mates] == 2 * [[client.context]]
    assert {link.context.span_id for link in client.links} == {
        mate.context.span_id for mate in mates if mate.context
    }


def test_a_call_that_travels_alone_has_its_own_client_span(
    calls: list[CallTrace], exporter: InMemorySpanExporter
) -> None:
    assert batch_trace(calls[:1], 1) is calls[0]


def test_the_only_sampled_call_of_several_says_with_how_many_it_travelled(
    calls: list[CallTrace], exporter: InMemorySpanExporter
) -> None:
    with batch_trace(calls[:1], 7).triton_call(MODEL):
        pass
    (span,) = named(exporter, BATCH)
    assert span.attributes == {"trident.batch.calls": 7}
    assert client_span(exporter).parent == span.context


def test_without_a_sampled_call_nothing_is_recorded_and_triton_is_told_of_no_trace(
    exporter: InMemorySpanExporter,
) -> None:
    assert batch_trace([], 1) is NO_TRACE
    with batch_trace([], 3).triton_call(MODEL) as headers:
        pass
    assert headers == {}
    assert not exporter.get_finished_spans()


def test_a_stage_of_an_inference_is_a_stage_of_every_call(
    calls: list[CallTrace], exporter: InMemorySpanExporter
) -> None:
    trace = batch_trace(calls, 3)
    with trace.stage("admission"):
        pass
    trace.add_stage("queue", 1_000, 2_000)
    assert len(named(exporter, "admission")) == 3
    queues = named(exporter, "queue")
    assert [(span.start_time, span.end_time) for span in queues] == 3 * [(1_000, 2_000)]
    assert len({trace_id(span) for span in queues}) == 3


def test_what_goes_wrong_is_on_every_span(
    calls: list[CallTrace], exporter: InMemorySpanExporter
) -> None:
    with pytest.raises(ZeroDivisionError), batch_trace(calls, 3).triton_call(MODEL):
        raise ZeroDivisionError
    spans = [client_span(exporter), *named(exporter, BATCH)]
    assert [(span.attributes or {})["error.type"] for span in spans] == 4 * ["ZeroDivisionError"]


def test_the_end_of_an_inference_ends_no_call(
    calls: list[CallTrace], exporter: InMemorySpanExporter
) -> None:
    batch_trace(calls, 3).finish(code_pb2.OK)
    assert not named(exporter, METHOD)
