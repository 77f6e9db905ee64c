from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fake_runner import FakeCall
from google.rpc import code_pb2
from kept_spans import KeptSpans
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from span_makers import CLIENT_SPAN_ID, TRACE_ID, TRACEPARENT, UNSAMPLED, span

from gateway.telemetry.passage import Inference
from gateway.telemetry.record import SERVER_FAULTS, CallRecord
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.tracing import (
    NO_INFERENCE,
    NO_TRACE,
    CallTrace,
    InferenceTrace,
    Tracing,
)

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
TRITON = "inference.GRPCInferenceService/ModelInfer"
STATE = {"tracestate": "vendor=1,other=2", "baggage": "tenant=north"}
Build = Callable[..., Tracing]


def one_call(
    tracing: Tracing, metadata: Mapping[str, str] | None = None, code: int = code_pb2.OK
) -> dict[str, str]:
    """A whole call; returns the headers for Triton."""
    call = tracing.start_call(FakeCall(METHOD, metadata or {}))
    call.add_stage("decode", 1_000, 2_000)
    inference = call.inference()
    inference.admitted()
    headers = inference.ask("score-risk__a1")
    inference.end()
    call.finish(code)
    return headers


def test_a_span_of_another_program_is_the_parent(tracing: Tracing, kept: KeptSpans) -> None:
    foreign: dict[str, str] = {}
    with TracerProvider().get_tracer("shop").start_as_current_span("checkout") as theirs:
        TraceContextTextMapPropagator().inject(foreign)
    one_call(tracing, foreign)
    context, server = theirs.get_span_context(), kept.one(METHOD)
    assert (server.trace_id, server.parent_id) == (context.trace_id, context.span_id)
    assert kept.one(TRITON).trace_id == context.trace_id


def test_the_span_that_is_current_in_the_process_is_no_parent(
    tracing: Tracing, kept: KeptSpans
) -> None:
    with TracerProvider().get_tracer("other").start_as_current_span("here"):
        assert trace.get_current_span().get_span_context().is_valid
        one_call(tracing)
    assert kept.one(METHOD).parent_id == 0


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-01", "00-" + "0" * 32 + "-1-01"])
def test_a_malformed_traceparent_starts_a_trace_of_its_own(
    header: str, tracing: Tracing, kept: KeptSpans
) -> None:
    one_call(tracing, {"traceparent": header, "tracestate": "vendor=1"})
    assert (kept.one(METHOD).parent_id, kept.one(METHOD).trace_state) == (0, "")


def test_triton_gets_the_context_of_its_own_client_span(tracing: Tracing, kept: KeptSpans) -> None:
    sent = one_call(tracing, {"traceparent": TRACEPARENT, **STATE})
    asked = kept.one(TRITON)
    assert sent == {"traceparent": f"00-{TRACE_ID:032x}-{asked.span_id:016x}-01", **STATE}


def test_tracestate_is_on_every_span_of_the_call(tracing: Tracing, kept: KeptSpans) -> None:
    one_call(tracing, {"traceparent": TRACEPARENT, **STATE})
    assert {one.trace_state for one in kept.spans()} == {STATE["tracestate"]}


def test_a_state_without_the_trace_that_it_is_of_goes_nowhere(
    tracing: Tracing, kept: KeptSpans
) -> None:
    sent = one_call(tracing, STATE)
    assert sent.keys() == {"traceparent", "baggage"}
    assert {one.trace_state for one in kept.spans()} == {""}


def test_what_the_client_does_not_sample_leaves_no_span_and_triton_untold(
    tracing: Tracing, kept: KeptSpans
) -> None:
    assert one_call(tracing, {"traceparent": UNSAMPLED, **STATE}) == {}
    assert kept.items == []


def test_a_ratio_of_zero_leaves_calls_whose_client_asks_for_a_trace(
    build: Build, kept: KeptSpans
) -> None:
    tracing = build(sample_ratio=0)
    assert one_call(tracing) == {}
    assert one_call(tracing, {"traceparent": TRACEPARENT})
    assert kept.one(METHOD).parent_id == CLIENT_SPAN_ID


def test_about_as_many_are_sampled_as_the_ratio_says(build: Build, kept: KeptSpans) -> None:
    tracing = build(sample_ratio=0.1)
    told = sum(bool(one_call(tracing)) for _ in range(3000))
    assert told == len(kept.items)
    assert 200 < told < 420  # one in 10^8 fails by chance


@pytest.mark.parametrize("sampled", [{}, {"traceparent": UNSAMPLED}], ids=["chance", "client"])
@pytest.mark.parametrize("code", [*code_pb2.Code.values()])
def test_what_fails_by_the_servers_fault_is_kept_with_the_gateways_spans_only(
    code: int, sampled: Mapping[str, str], build: Build, kept: KeptSpans
) -> None:
    tracing = build(sample_ratio=0)
    assert one_call(tracing, sampled, code) == {}  # so Triton has no spans of it
    names = [one.name for one in kept.spans()]
    assert names == (["decode", TRITON, METHOD] if code in SERVER_FAULTS else [])
    if sampled and names:
        assert kept.one(METHOD).parent_id == CLIENT_SPAN_ID


def test_errors_are_not_kept_where_that_is_not_wanted(build: Build, kept: KeptSpans) -> None:
    one_call(build(sample_ratio=0, keep_errors=False), code=code_pb2.INTERNAL)
    assert kept.items == []


@pytest.mark.parametrize(
    ("slower_s", "keeps"), [(None, False), (0.0, True), (3600.0, False), (60.0, True)]
)
def test_what_took_long_is_kept(
    slower_s: float | None, keeps: bool, build: Build, kept: KeptSpans,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    now = 10**18
    monkeypatch.setattr("time.time_ns", lambda: now)
    tracing = build(sample_ratio=0, keep_slower_s=slower_s)
    call = tracing.start_call(FakeCall(METHOD, received_ns=now - 60 * 10**9))
    call.finish(code_pb2.OK)
    assert bool(kept.items) is keeps


def test_without_an_exporter_and_a_sink_nothing_is_recorded() -> None:
    assert Tracing().start_call(FakeCall(METHOD, {"traceparent": TRACEPARENT})) is NO_TRACE


def test_with_a_sink_alone_calls_are_recorded_and_triton_is_told_of_no_trace() -> None:
    records: list[CallRecord] = []
    tracing = Tracing(sink=records.append)
    assert one_call(tracing, {"traceparent": TRACEPARENT}, code_pb2.INTERNAL) == {}
    (record,) = records
    assert (record.method, record.code, record.trace_id) == (METHOD, code_pb2.INTERNAL, 0)
    assert [stage[0] for stage in record.stages] == ["decode", "admission", "triton"]
    assert not tracing.is_on


def test_the_sink_learns_which_trace_was_kept(build: Build, kept: KeptSpans) -> None:
    records: list[CallRecord] = []
    one_call(build(sink=records.append))
    assert records[0].trace_id == kept.one(METHOD).trace_id


def test_a_sink_that_fails_fails_no_call(build: Build, kept: KeptSpans) -> None:
    def broken(record: CallRecord) -> None:
        raise RuntimeError("no such label")

    one_call(build(sink=broken))
    assert kept.named(METHOD)


def test_spans_of_another_process_go_where_ours_go(tracing: Tracing, kept: KeptSpans) -> None:
    foreign = span("InferRequest", 5, CLIENT_SPAN_ID, service="triton")
    tracing.export([foreign])
    assert kept.items == [[foreign]]


def test_after_its_end_nothing_is_kept_and_the_counts_stay(
    tracing: Tracing, kept: KeptSpans
) -> None:
    open_call = tracing.start_call(FakeCall(METHOD))
    kept.dropped, kept.sent = 3, 4
    tracing.shutdown()
    tracing.shutdown()
    open_call.finish(code_pb2.OK)
    one_call(tracing)
    assert kept.items == []
    assert (tracing.dropped_spans, tracing.sent_spans) == (3, 4)


@pytest.mark.parametrize(
    ("protocol", "implementation", "count"),
    [
        (CallTrace, RecordedCall, 6),
        (CallTrace, type(NO_TRACE), 6),
        (InferenceTrace, Inference, 5),
        (InferenceTrace, type(NO_INFERENCE), 5),
    ],
)
def test_every_trace_takes_what_the_protocol_says(
    protocol: Any, implementation: type, count: int
) -> None:
    names = [name for name, value in vars(protocol).items() if inspect.isfunction(value)]
    names = [name for name in names if not name.startswith("_")]
    assert len(names) == count
    for name in names:
        wanted = inspect.signature(getattr(protocol, name)).parameters
        given = inspect.signature(getattr(implementation, name)).parameters
        assert list(given) == list(wanted)
        assert [one.default for one in given.values()] == [one.default for one in wanted.values()]
