"""Spans of calls like most others: made of them at once, and one by one, they are the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fake_runner import Answers, FakeCall
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st
from kept_spans import KeptSpans

from gateway.telemetry.call_spans import CallSpans
from gateway.telemetry.otlp_json import JsonSpans, json_to_spans
from gateway.telemetry.otlp_protobuf import ProtobufSpans, protobuf_to_json
from gateway.telemetry.passage import Inference, Passage
from gateway.telemetry.plain_calls import PlainCalls
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.span import Attribute, Source, Span
from gateway.telemetry.tracing import CallTrace, Tracing, shared_inference

METHOD = "trident.diagnose.v1.DiagnoseService/Diagnose"
SAMPLED = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
UNSAMPLED = {"traceparent": f"00-{'c' * 32}-{'d' * 16}-00"}
ENCODERS = (JsonSpans(), ProtobufSpans())
ANSWERS = Answers("diagnose", "100%", "fused")
Spoil = Callable[[CallTrace, Passage], None]


def travelled(
    callers: list[Mapping[str, str]], ratio: float = 1.0, spoil: Spoil = lambda call, way: None
) -> list[RecordedCall]:
    """Calls in one batch that were all kept, ``spoil`` told of each before it ends."""
    kept = KeptSpans()
    tracing = Tracing([kept], sample_ratio=ratio, keep_slower_s=0)  # type: ignore[list-item]
    calls = [
        tracing.start_call(FakeCall(METHOD, headers, address=f"ipv4:10.0.0.7:{4711 + place % 2}"))
        for place, headers in enumerate(callers)
    ]
    ways = [Passage(call, 17, 1_000) for call in calls]
    for way in ways:
        way.left_ns = 2_000
    trip = shared_inference(ways)
    assert isinstance(trip, Inference)
    trip.admitted()
    trip.entered_ns = trip.admitted_ns  # however busy the machine is
    trip.ask("diagnose__100%__fused", "10.0.0.8:8001")
    trip.end()
    for call, way in zip(calls, ways, strict=True):
        way.end_ns = way.trip.end_ns + 3_000 if way.trip else 3_000
        call.went(way)
        call.set_release(ANSWERS)
        spoil(call, way)
        call.finish(code_pb2.OK)
    assert len(kept.items) == len(calls)
    return kept.items  # type: ignore[return-value]


def read(encoder: Any, pieces: list[bytes]) -> list[Span]:
    request = encoder.request([(Source({"service.name": "x"}), pieces)])
    content = (
        protobuf_to_json(request) if isinstance(encoder, ProtobufSpans) else json.loads(request)
    )
    return json_to_spans(content)


def said(spans: list[Span]) -> list[tuple[Any, ...]]:
    """All that spans say but where they are from, in the order of their numbers."""
    return sorted(
        (
            one.span_id, one.trace_id, one.parent_id, one.name, one.kind, one.start_ns, one.end_ns,
            repr(one.attributes), repr(one.links), one.status,
        )
        for one in spans
    )  # fmt: skip


@pytest.mark.parametrize("encoder", ENCODERS, ids=["json", "protobuf"])
@given(
    callers=st.lists(st.sampled_from([{}, SAMPLED, UNSAMPLED]), min_size=1, max_size=5),
    ratio=st.sampled_from([0.0, 1.0]),
)
def test_both_ways_give_the_same_spans(
    encoder: Any, callers: list[Mapping[str, str]], ratio: float
) -> None:
    plain, calls = PlainCalls(encoder), CallSpans(encoder)
    for call in travelled(callers, ratio):
        at_once = plain.encode(call)
        assert at_once is not None
        one_by_one = calls.one_by_one(call)
        spans = read(encoder, [*at_once[0]])
        assert said(spans) == said(read(encoder, one_by_one))
        assert len(spans) == at_once[1] == len(one_by_one)


@pytest.mark.parametrize("encoder", ENCODERS, ids=["json", "protobuf"])
def test_pieces_of_several_calls_stand_beside_each_other(encoder: Any) -> None:
    calls = CallSpans(encoder)
    encoded = [calls.encode(call) for call in travelled([{}, SAMPLED, UNSAMPLED], 1.0)]
    spans = read(encoder, [piece for pieces, _ in encoded for piece in pieces])
    assert len(spans) == sum(count for _, count in encoded)
    assert [len(pieces) for pieces, _ in encoded] == [2, 2, 2]


def stage(call: CallTrace, way: Passage) -> None:
    call.add_stage("encode", 1, 2)


def another_way(call: CallTrace, way: Passage) -> None:
    call.went(Passage(call, 5, 6))


def failure(call: CallTrace, way: Passage) -> None:
    way.error = "ModelContractBroken"


def another_attempt(call: CallTrace, way: Passage) -> None:
    assert way.trip is not None
    way.trip.attempts = (("10.0.0.8:8001", 1), ("10.0.0.9:8001", 2))


def long_admission(call: CallTrace, way: Passage) -> None:
    assert way.trip is not None
    way.trip.entered_ns -= 1_000_000


def parts_sent(call: CallTrace, way: Passage) -> None:
    assert isinstance(call, RecordedCall)
    call._rarely().sent_stages = 512


def stages_dropped(call: CallTrace, way: Passage) -> None:
    assert isinstance(call, RecordedCall)
    call._rarely().dropped_stages = 512


@pytest.mark.parametrize(
    "spoil",
    [parts_sent, stages_dropped, stage, another_way, failure, another_attempt, long_admission],
)
def test_whoever_is_unlike_others_is_told_span_by_span(spoil: Spoil) -> None:
    (call,) = travelled([{}], spoil=spoil)
    assert PlainCalls(JsonSpans()).encode(call) is None
    pieces, count = CallSpans(JsonSpans()).encode(call)
    assert len(read(JsonSpans(), [*pieces])) == count == len(pieces)


def test_attributes_of_single_calls_are_said_and_told_apart() -> None:
    plain = PlainCalls(JsonSpans())
    values: list[Attribute] = ["key:billing", "key:shop", 1, "1", True]
    for value in values:

        def named(call: CallTrace, way: Passage, value: Attribute = value) -> None:
            call.set_attribute("enduser.id", value)

        (call,) = travelled([{}], spoil=named)
        found = plain.encode(call)
        assert found is not None
        (server,) = [one for one in read(JsonSpans(), [*found[0]]) if one.name == METHOD]
        said_value = server.attributes["enduser.id"]
        assert (said_value, type(said_value)) == (value, type(value))


def test_a_trace_state_is_kept_on_every_span() -> None:
    (call,) = travelled([{**SAMPLED, "tracestate": "a=b"}])
    assert PlainCalls(JsonSpans()).encode(call) is None
    pieces, _ = CallSpans(JsonSpans()).encode(call)
    assert {one.trace_state for one in read(JsonSpans(), [*pieces])} == {"a=b"}


def test_frames_are_told_apart_by_all_that_they_say_and_their_number_is_bounded() -> None:
    plain = PlainCalls(JsonSpans())
    for port in range(5_000):
        (call,) = travelled([{}])
        call.peer = f"ipv4:10.0.0.7:{port}"
        assert call.passage is not None
        assert call.passage.trip is not None
        call.passage.trip.target = f"10.0.0.8:{port}"
        found = plain.encode(call)
        assert found is not None
        for piece in found[0]:
            assert f'{{"intValue":"{port}"}}'.encode() in piece
    assert len(plain._below) <= 4096
    assert len(plain._servers) <= 4096


def test_clients_and_sizes_of_batches_have_frames_each_and_not_one_for_both() -> None:
    plain = PlainCalls(JsonSpans())
    for size in range(2, 8):
        for port in range(20):
            for call in travelled([{}] * size):
                call.peer = f"ipv4:10.0.0.7:{port}"
                call.answerer = ANSWERS
                assert plain.encode(call) is not None
    assert len(plain._servers) == 20
    assert len(plain._below) == 2 * 6  # of who has the client span, and of the others
