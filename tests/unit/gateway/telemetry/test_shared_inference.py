"""Calls that travel to Triton together: whose trace has what, whoever is sampled or leaves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_runner import FakeCall
from google.rpc import code_pb2
from kept_spans import KeptSpans
from travelling import together

from gateway.telemetry.record import CallRecord
from gateway.telemetry.recording import MAX_STAGES
from gateway.telemetry.span import Span
from gateway.telemetry.tracing import (
    NO_INFERENCE,
    NO_TRACE,
    CallTrace,
    InferenceTrace,
    Tracing,
)

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
TRITON = "inference.GRPCInferenceService/ModelInfer"
MODEL = "score-risk__a1__fused"
BATCH = "batch"
SAMPLED, NOT_SAMPLED = "01", "00"
Build = Callable[..., Tracing]


def start(tracing: Tracing, flags: str = "", number: int = 1) -> CallTrace:
    parent = {"traceparent": f"00-{number:032x}-{number:016x}-{flags}"} if flags else {}
    return tracing.start_call(FakeCall(METHOD, parent))


def asked(calls: list[CallTrace]) -> InferenceTrace:
    inference = together(calls)
    inference.admitted()
    inference.ask(MODEL)
    return inference


def links(span: Span) -> list[tuple[int, int]]:
    return [(link.trace_id, link.span_id) for link in span.links]


def place(span: Span) -> tuple[int, int]:
    return span.trace_id, span.span_id


@pytest.fixture
def calls(tracing: Tracing) -> list[CallTrace]:
    """Three sampled calls, each with a trace of its own."""
    return [start(tracing) for _ in range(3)]


def test_there_is_one_client_span_and_each_call_has_a_span_for_it(
    calls: list[CallTrace], kept: KeptSpans
) -> None:
    inference = together(calls)
    inference.admitted()
    headers = inference.ask(MODEL)
    inference.end()
    for call in calls:
        call.finish(code_pb2.OK)
    client, batches = kept.one(TRITON), kept.named(BATCH)
    assert len({one.trace_id for one in batches}) == 3
    assert headers["traceparent"].split("-")[1:3] == [
        f"{client.trace_id:032x}", f"{client.span_id:016x}"
    ]  # fmt: skip
    assert client.attributes["trident.model"] == MODEL
    assert [one.attributes for one in batches] == 3 * [{"trident.batch.calls": 3}]
    assert client.attributes["trident.batch.calls"] == 3
    assert {(one.start_ns, one.end_ns) for one in batches} == {(client.start_ns, client.end_ns)}


def test_each_call_finds_the_client_span_below_its_own_or_by_a_link(
    calls: list[CallTrace], kept: KeptSpans
) -> None:
    asked(calls).end()
    for call in calls:
        call.finish(code_pb2.OK)
    client, batches = kept.one(TRITON), kept.named(BATCH)
    host, *mates = batches
    assert (client.trace_id, client.parent_id) == place(host)
    assert links(host) == []
    assert [links(mate) for mate in mates] == 2 * [[place(client)]]
    assert links(client) == [place(mate) for mate in mates]


def test_the_only_sampled_call_of_several_has_the_client_span_and_no_links(
    build: Build, kept: KeptSpans
) -> None:
    tracing = build(sample_ratio=0)
    calls = [start(tracing), start(tracing, SAMPLED), start(tracing)]
    asked(calls).end()
    for call in calls:
        call.finish(code_pb2.OK)
    assert [one.name for one in kept.spans()] == [BATCH, TRITON, METHOD]
    assert kept.one(BATCH).attributes == {"trident.batch.calls": 3}
    assert kept.one(TRITON).parent_id == kept.one(BATCH).span_id
    assert links(kept.one(TRITON)) == []


def test_calls_nobody_records_leave_triton_untold(tracing: Tracing, kept: KeptSpans) -> None:
    assert together([NO_TRACE, NO_TRACE]) is NO_INFERENCE
    call = start(tracing, NOT_SAMPLED)
    inference = together([call, NO_TRACE])
    inference.admitted()
    assert inference.ask(MODEL) == {}
    inference.end()
    call.finish(code_pb2.OK)
    assert kept.items == []


def test_whose_clients_did_not_decide_are_decided_together(build: Build, kept: KeptSpans) -> None:
    """So that Triton traces as few requests as calls, not nearly all of them."""
    tracing = build(sample_ratio=0.5)
    told = 0
    for _ in range(100):
        calls = [start(tracing) for _ in range(8)]
        before = len(kept.items)
        inference = together(calls)
        inference.admitted()
        told += bool(inference.ask(MODEL))
        inference.end()
        for call in calls:
            call.finish(code_pb2.OK)
        assert len(kept.items) - before in (0, 8)
    assert 10 < told < 90  # one in 10^17 fails by chance


def test_a_client_that_decided_does_not_decide_for_others(build: Build, kept: KeptSpans) -> None:
    tracing = build(sample_ratio=0)
    calls = [start(tracing, SAMPLED, 7), start(tracing, NOT_SAMPLED, 8), start(tracing)]
    asked(calls).end()
    for call in calls:
        call.finish(code_pb2.OK)
    assert {one.trace_id for one in kept.spans()} == {7}


def test_what_goes_wrong_is_on_every_span_of_it(calls: list[CallTrace], kept: KeptSpans) -> None:
    asked(calls).end(ZeroDivisionError())
    for call in calls:
        call.finish(code_pb2.OK)
    spans = [kept.one(TRITON), *kept.named(BATCH)]
    assert [one.attributes["error.type"] for one in spans] == 4 * ["ZeroDivisionError"]


def test_one_that_is_kept_for_its_error_points_to_what_triton_traced_for_another(
    build: Build, kept: KeptSpans
) -> None:
    tracing = build(sample_ratio=0)
    sampled, failed = start(tracing, SAMPLED, 7), start(tracing)
    asked([failed, sampled]).end()
    sampled.finish(code_pb2.OK)
    failed.finish(code_pb2.INTERNAL)
    client = kept.one(TRITON)
    assert client.trace_id == 7
    late = next(one for one in kept.named(BATCH) if one.trace_id != 7)
    assert links(late) == [place(client)]


def test_those_kept_for_their_errors_alone_each_have_a_client_span(
    build: Build, kept: KeptSpans
) -> None:
    tracing = build(sample_ratio=0)
    calls = [start(tracing) for _ in range(3)]
    inference = together(calls)
    inference.admitted()
    assert inference.ask(MODEL) == {}  # Triton is told of none: nobody knew yet
    inference.end()
    for call in calls:
        call.finish(code_pb2.UNAVAILABLE)
    batches = {place(one) for one in kept.named(BATCH)}
    clients = kept.named(TRITON)
    assert len(clients) == 3
    assert {(one.trace_id, one.parent_id) for one in clients} == batches
    assert all(not one.links for one in clients)


def test_a_call_that_leaves_early_is_told_when_its_batch_is_back(
    tracing: Tracing, kept: KeptSpans
) -> None:
    calls = [start(tracing), start(tracing)]
    inference = asked(calls)
    calls[0].finish(code_pb2.CANCELLED)
    assert kept.items == []  # the client span, which lies in its trace, has no end yet
    inference.end()
    calls[1].finish(code_pb2.OK)
    client, (left, stayed) = kept.one(TRITON), kept.named(BATCH)
    server = next(one for one in kept.named(METHOD) if one.trace_id == client.trace_id)
    assert left.end_ns == server.end_ns <= client.end_ns == stayed.end_ns


def test_a_stream_that_leaves_with_two_elements_in_a_batch_is_told_once(
    tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    first, second = asked([call, call]), asked([call])
    call.finish(code_pb2.CANCELLED)
    first.end()
    assert kept.items == []
    second.end()
    assert kept.items == [call]
    assert len(kept.named(BATCH)) == 2


def test_a_call_that_left_before_triton_was_asked_owns_nothing(
    tracing: Tracing, kept: KeptSpans
) -> None:
    left, stayed = start(tracing, SAMPLED, 7), start(tracing, SAMPLED, 8)
    inference = together([left, stayed])
    left.finish(code_pb2.CANCELLED)
    inference.admitted()
    assert inference.ask(MODEL)["traceparent"].split("-")[1] == f"{8:032x}"
    inference.end()
    stayed.finish(code_pb2.OK)
    assert [one.name for one in kept.spans() if one.trace_id == 7] == [METHOD]
    assert kept.one(TRITON).trace_id == 8


def test_nothing_changes_a_call_that_has_ended(tracing: Tracing, kept: KeptSpans) -> None:
    call = start(tracing)
    call.finish(code_pb2.OK)
    call.add_stage("encode", 1, 2)
    assert [one.name for one in kept.spans()] == [METHOD]


def test_the_first_end_counts(calls: list[CallTrace], kept: KeptSpans) -> None:
    inference = asked(calls)
    inference.end()
    inference.end(TimeoutError())
    for call in calls:
        call.finish(code_pb2.OK)
    assert "error.type" not in kept.one(TRITON).attributes
    assert len(kept.named(BATCH)) == 3


def test_a_record_says_with_how_many_it_travelled_and_holds_no_caller(build: Build) -> None:
    records: list[CallRecord] = []
    tracing = build(sample_ratio=0, sink=records.append)
    calls = [start(tracing) for _ in range(3)]
    asked(calls).end()
    for call in calls:
        call.finish(code_pb2.OK)
    assert [(one.batch_calls, one.batch_rows, one.trace_id) for one in records] == 3 * [(3, 3, 0)]
    assert [[stage[0] for stage in one.stages] for one in records] == 3 * [["admission", BATCH]]
    assert all(one.caller is None for one in records)  # type: ignore[attr-defined]


# Streams.


def stream_of(tracing: Tracing, stages: int, flags: str = "") -> CallTrace:
    call = start(tracing, flags)
    for number in range(stages):
        call.add_stage("decode", 10 * number + 1, 10 * number + 2)
    return call


def test_the_stages_of_a_long_stream_are_sent_in_parts_without_a_loss(
    tracing: Tracing, kept: KeptSpans
) -> None:
    count = 2 * MAX_STAGES + 3
    call = stream_of(tracing, count)
    assert len(kept.items) == 2
    call.finish(code_pb2.OK)
    spans = kept.spans()
    server = kept.one(METHOD)
    assert [one.start_ns for one in kept.named("decode")] == list(range(1, 10 * count, 10))
    assert {one.parent_id for one in spans if one is not server and one.name != METHOD} == {
        server.span_id
    }
    assert len({place(one) for one in spans}) == count + 1
    assert "trident.dropped_stages" not in server.attributes


def test_an_inference_that_goes_on_stays_with_the_rest_of_a_stream(
    tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    inference = asked([call])
    for number in range(MAX_STAGES):
        call.add_stage("decode", number + 1, number + 2)
    assert len(kept.items) == 1
    assert not kept.named(TRITON)
    inference.end()
    call.finish(code_pb2.OK)
    client = kept.one(TRITON)
    assert 0 < client.start_ns <= client.end_ns
    assert client.parent_id == kept.one(METHOD).span_id


def test_a_stream_that_is_kept_only_in_the_end_says_what_it_has_forgotten(
    build: Build, kept: KeptSpans
) -> None:
    call = stream_of(build(sample_ratio=0), MAX_STAGES + 5)
    assert kept.items == []
    call.finish(code_pb2.INTERNAL)
    assert len(kept.named("decode")) == 5
    assert kept.one(METHOD).attributes["trident.dropped_stages"] == MAX_STAGES


def test_the_parts_of_a_stream_are_drawn_with_it(
    build: Build, kept: KeptSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([0.6, 0.4])
    monkeypatch.setattr("gateway.telemetry.tracing.random", lambda: next(drawn))
    stream_of(build(sample_ratio=0.5), MAX_STAGES + 5).finish(code_pb2.OK)
    assert kept.items == []
    assert next(drawn) == 0.4


def test_every_part_of_a_stream_reaches_the_sink(build: Build) -> None:
    records: list[CallRecord] = []
    call = stream_of(build(sample_ratio=0, sink=records.append), MAX_STAGES + 5)
    call.finish(code_pb2.OK)
    assert [(len(one.stages), bool(one.end_ns)) for one in records] == [
        (MAX_STAGES, False), (5, True)
    ]  # fmt: skip


def test_two_elements_of_a_stream_in_one_batch_are_both_seen(
    tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    asked([call, call]).end()
    call.finish(code_pb2.OK)
    client, (first, second) = kept.one(TRITON), kept.named(BATCH)
    assert client.parent_id == first.span_id
    assert links(second) == [place(client)]
    assert links(client) == [place(second)]
