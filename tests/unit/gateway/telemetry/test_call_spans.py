"""The spans of one call, whatever it asked Triton with or without company."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import grpc
import pytest
from fake_runner import Answers, FakeCall
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st
from kept_spans import KeptSpans
from travelling import together

from gateway.errors import GatewayError, ModelContractBroken
from gateway.telemetry.call_attributes import of_peer
from gateway.telemetry.call_spans import CallSpans
from gateway.telemetry.otlp_json import JsonSpans
from gateway.telemetry.span import Attribute, Kind, Span, Status
from gateway.telemetry.tracing import CallTrace, Tracing

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
TRITON = "inference.GRPCInferenceService/ModelInfer"
MODEL = "score-risk__a1__fused"
CLIENT_FAULTS = [
    "OK", "CANCELLED", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNAUTHENTICATED",
]  # fmt: skip


class TritonSays(grpc.RpcError):
    """What grpc raises."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "connection refused"


def start(tracing: Tracing, *, metadata: Mapping[str, str] | None = None) -> CallTrace:
    call = FakeCall(METHOD, metadata or {}, address="ipv4:10.0.0.7:4711", received_ns=1_000)
    return tracing.start_call(call)


def infer(
    calls: Sequence[CallTrace],
    error: BaseException | None = None,
    model: str = MODEL,
    again: Sequence[str] = (),
    answered: int | None = None,
) -> dict[str, str]:
    """An inference for all of them; returns the headers for Triton."""
    inference = together(calls)
    inference.admitted()
    headers = inference.ask(model, "10.0.0.8:8001")
    for target in again:
        inference.ask_again(target)
    if answered is not None:
        inference.answered_by(answered)
    inference.end(error)
    return headers


def whole_call(tracing: Tracing, metadata: Mapping[str, str] | None = None) -> dict[str, str]:
    call = start(tracing, metadata=metadata)
    call.add_stage("decode", 1_000, 2_000)
    call.set_release(Answers())
    call.set_attribute("trident.batch.size", 3)
    call.add_stage("queue", 2_000, 3_000)
    headers = infer([call])
    call.add_stage("encode", 4_000, 5_000)
    call.finish(code_pb2.OK)
    return headers


def by_name(kept: KeptSpans) -> dict[str, Span]:
    return {one.name: one for one in kept.spans()}


def test_the_stages_and_the_call_to_triton_lie_below_the_server_span(
    tracing: Tracing, kept: KeptSpans
) -> None:
    whole_call(tracing)
    spans = by_name(kept)
    below = {
        "decode": Kind.INTERNAL, "queue": Kind.INTERNAL, "encode": Kind.INTERNAL,
        TRITON: Kind.CLIENT,
    }  # fmt: skip
    assert set(spans) == {METHOD, *below}
    server = spans[METHOD]
    assert (server.kind, server.parent_id) == (Kind.SERVER, 0)
    for name, kind in below.items():
        assert (spans[name].kind, spans[name].parent_id) == (kind, server.span_id)
    assert {one.trace_id for one in spans.values()} == {server.trace_id}


def test_times_are_those_that_were_given(tracing: Tracing, kept: KeptSpans) -> None:
    whole_call(tracing)
    spans = by_name(kept)
    times = {name: (spans[name].start_ns, spans[name].end_ns) for name in ("decode", "queue")}
    assert times == {"decode": (1_000, 2_000), "queue": (2_000, 3_000)}
    server, asked = spans[METHOD], spans[TRITON]
    assert server.start_ns == 1_000 < asked.start_ns <= asked.end_ns <= server.end_ns


def test_the_server_span_says_who_asked_and_which_release_answered(
    tracing: Tracing, kept: KeptSpans
) -> None:
    whole_call(tracing)
    assert kept.one(METHOD).attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "OK",
        "client.address": "10.0.0.7",
        "client.port": 4711,
        "trident.line": "score-risk",
        "trident.release": "a1",
        "trident.variant": "ensemble",
        "trident.batch.size": 3,
    }


def test_the_call_to_triton_says_what_was_asked(tracing: Tracing, kept: KeptSpans) -> None:
    headers = whole_call(tracing)
    asked = kept.one(TRITON)
    assert asked.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": TRITON,
        "trident.model": MODEL,
        "server.address": "10.0.0.8",
        "server.port": 8001,
        "rpc.response.status_code": "OK",
    }
    assert headers == {"traceparent": f"00-{asked.trace_id:032x}-{asked.span_id:016x}-01"}


@pytest.mark.parametrize(
    ("answered", "address", "in_vain"),
    [(2, "::1", ["10.0.0.8", "10.0.0.9"]), (1, "10.0.0.9", ["10.0.0.8"]), (0, "10.0.0.8", [])],
)
def test_attempts_before_the_one_that_answered_are_spans_of_their_own(
    answered: int, address: str, in_vain: list[str], tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    infer([call], again=["10.0.0.9:8001", "[::1]:8001"], answered=answered)
    call.finish(code_pb2.OK)
    asked = kept.one(TRITON)
    said = asked.attributes
    assert (said["server.address"], said["server.port"], said["trident.attempts"]) == (
        address, 8001, 3,
    )  # fmt: skip
    lost = kept.named("attempt")
    assert [one.attributes["server.address"] for one in lost] == in_vain
    assert [one.parent_id for one in lost] == [asked.span_id] * len(in_vain)
    assert [one.start_ns for one in lost[:1]] == [asked.start_ns] * len(lost[:1])
    for before, after in pairwise(lost):
        assert before.end_ns == after.start_ns


def test_where_every_attempt_failed_the_last_is_what_is_said_of(
    tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    infer([call], TritonSays(), again=["dark"])
    call.finish(code_pb2.UNAVAILABLE)
    said = kept.one(TRITON).attributes
    assert said["server.address"] == "dark"
    assert "server.port" not in said
    assert kept.one("attempt").attributes["server.address"] == "10.0.0.8"


def test_what_is_told_of_an_attempt_after_the_end_changes_nothing(
    tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    inference = together([call])
    inference.admitted()
    inference.ask(MODEL, "a:1")
    inference.end()
    inference.ask_again("b:2")
    inference.answered_by(1)
    call.finish(code_pb2.OK)
    assert kept.one(TRITON).attributes["server.address"] == "a"
    assert not kept.named("attempt")


def test_each_call_of_a_batch_that_nobody_sampled_has_attempts_of_its_own() -> None:
    kept = KeptSpans()
    tracing = Tracing([kept], sample_ratio=0.0)  # type: ignore[list-item]
    calls = [start(tracing) for _ in range(3)]
    infer(calls, TritonSays(), again=["b:2", "c:3"])
    for call in calls:
        call.finish(code_pb2.UNAVAILABLE)
    assert len(kept.named("attempt")) == 6
    assert len({one.span_id for one in kept.spans()}) == len(kept.spans())


@pytest.mark.parametrize("waited_ns", [19_999, 20_000])
def test_admission_is_a_span_only_where_it_waited(waited_ns: int) -> None:
    kept = KeptSpans()
    call = start(Tracing([kept]))  # type: ignore[list-item]
    call.add_stage("admission", 1_000, 1_000 + waited_ns)
    call.finish(code_pb2.OK)
    assert len(kept.named("admission")) == (waited_ns == 20_000)


def test_an_admission_that_was_refused_is_a_span_however_fast_it_was(
    tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    together([call]).end(TimeoutError())
    call.finish(code_pb2.RESOURCE_EXHAUSTED)
    assert kept.one("admission").attributes == {"error.type": "TimeoutError"}
    assert not kept.named(TRITON)


@pytest.mark.parametrize(
    ("code", "status"),
    [(code_pb2.INVALID_ARGUMENT, Status.UNSET), (code_pb2.UNAVAILABLE, Status.ERROR)],
    ids=["the client's fault", "the server's fault"],
)
def test_a_stage_that_failed_says_with_what(
    code: int, status: Status, tracing: Tracing, kept: KeptSpans
) -> None:
    """And has a status if the call has."""
    call = start(tracing)
    call.add_stage("decode", 1_000, 2_000, KeyError("x"))
    call.add_stage("encode", 2_000, 3_000)
    call.finish(code)
    decode = kept.one("decode")
    assert decode.attributes == {"error.type": "KeyError"}
    assert decode.status is status
    assert kept.one("encode").status is Status.UNSET


def test_of_calls_that_failed_together_each_batch_has_the_status_of_its_own_call(
    tracing: Tracing, kept: KeptSpans
) -> None:
    calls = [start(tracing) for _ in range(3)]
    infer(calls, TritonSays())
    codes = (code_pb2.UNAVAILABLE, code_pb2.CANCELLED, code_pb2.UNAVAILABLE)
    for call, code in zip(calls, codes, strict=True):
        call.finish(code)
    seen = [one.status for one in kept.named("batch")]
    assert seen == [Status.ERROR, Status.UNSET, Status.ERROR]
    assert all(one.attributes["error.type"] == "TritonSays" for one in kept.named("batch"))


def test_what_triton_answered_stands_on_the_call_to_triton_alone(
    tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    infer([call], TritonSays())
    call.finish(code_pb2.RESOURCE_EXHAUSTED)
    asked = kept.one(TRITON)
    assert asked.attributes["rpc.response.status_code"] == "UNAVAILABLE"
    assert asked.attributes["error.type"] == "UNAVAILABLE"
    assert (asked.status, asked.message) == (Status.ERROR, "connection refused")
    assert kept.one(METHOD).status is Status.UNSET


def test_a_call_to_triton_that_no_status_ended_names_the_exception(
    tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    infer([call], TimeoutError("5 s"))
    call.finish(code_pb2.DEADLINE_EXCEEDED)
    asked = kept.one(TRITON)
    assert asked.attributes["error.type"] == "TimeoutError"
    assert "rpc.response.status_code" not in asked.attributes
    assert asked.message == "5 s"


@pytest.mark.parametrize("name", code_pb2.Code.keys())
def test_only_the_servers_faults_are_errors(name: str, tracing: Tracing, kept: KeptSpans) -> None:
    start(tracing).finish(code_pb2.Code.Value(name))
    server, fault = kept.one(METHOD), name not in CLIENT_FAULTS
    assert server.attributes["rpc.response.status_code"] == name
    assert server.attributes.get("error.type") == (name if fault else None)
    assert server.status is (Status.ERROR if fault else Status.UNSET)


@pytest.mark.parametrize("fault", [False, True], ids=["foreseen", "a surprise"])
def test_a_fault_of_the_server_is_recorded_with_its_exception(
    fault: bool, tracing: Tracing, kept: KeptSpans
) -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError as error:
        start(tracing).finish(code_pb2.INTERNAL, error, fault=fault)
    server = kept.one(METHOD)
    (event,) = server.events
    assert (event.name, event.time_ns) == ("exception", server.end_ns)
    assert event.attributes["exception.type"] == "RuntimeError"
    assert event.attributes["exception.message"] == server.message == "broken"
    trace = event.attributes.get("exception.stacktrace", "")
    assert ("test_call_spans.py" in str(trace)) is fault


def test_a_refusal_records_no_exception(tracing: Tracing, kept: KeptSpans) -> None:
    start(tracing).finish(code_pb2.INVALID_ARGUMENT, ValueError("not so"))
    assert not kept.one(METHOD).events


def test_the_step_that_failed_is_named_on_the_call_and_on_its_call_to_triton(
    tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    infer([call], TritonSays())
    call.finish(code_pb2.INTERNAL, ModelContractBroken("score-risk", "a1", "calibrate"))
    for name in (METHOD, TRITON):
        assert kept.one(name).attributes["trident.step"] == "calibrate"


def test_what_is_no_text_in_an_error_costs_no_span(tracing: Tracing, kept: KeptSpans) -> None:
    odd = GatewayError("a file \udcff, a bell \a, \N{SNOWMAN}")
    start(tracing).finish(code_pb2.INTERNAL, odd, fault=True)
    assert "\N{SNOWMAN}" in kept.one(METHOD).message


def test_calls_that_differ_in_anything_are_told_apart(tracing: Tracing, kept: KeptSpans) -> None:
    values: list[Attribute] = [True, 1, "1", ["a", "b"], ["a"]]
    for value in values:
        call = start(tracing)
        call.set_attribute("x", value)
        call.finish(code_pb2.OK)
    for release in (("l", "r", "v"), ("l", "r", "w"), ("l", "s", "v"), ("m", "r", "v")):
        call = start(tracing)
        call.set_release(Answers(*release))
        call.finish(code_pb2.OK)
    said = [one.attributes for one in kept.spans()]
    assert [(one["x"], type(one["x"])) for one in said[: len(values)]] == [
        (value, type(value)) for value in values
    ]
    assert len({repr(one) for one in said}) == len(said)


def test_what_is_remembered_of_others_is_bounded_and_forgetting_it_changes_nothing() -> None:
    calls = CallSpans(JsonSpans())
    kept = KeptSpans()
    tracing = Tracing([kept])  # type: ignore[list-item]
    for port in range(1, 5_000):
        tracing.start_call(FakeCall(METHOD, address=f"ipv4:10.0.0.7:{port}")).finish(0)
        (((server,), _), kept.items) = calls.encode(kept.items[0]), []  # type: ignore[arg-type]
        assert f'{{"intValue":"{port}"}}'.encode() in server
    assert len(calls._constants) <= 4096


@given(
    stages=st.lists(st.sampled_from(["decode", "queue", "encode", "admission"]), max_size=20),
    inferences=st.lists(st.integers(1, 5), max_size=4),
    sampled=st.booleans(),
)
def test_no_two_spans_of_a_trace_have_the_same_id(
    stages: list[str], inferences: list[int], sampled: bool
) -> None:
    kept = KeptSpans()
    tracing = Tracing([kept], sample_ratio=1)  # type: ignore[list-item]
    # All calls in one trace: the hardest case.
    parent = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-0{int(sampled)}"}
    calls = [start(tracing, metadata=parent) for _ in range(5)]
    for name in stages:
        for call in calls:
            call.add_stage(name, 1_000, 900_000)
    for size in inferences:
        infer([*calls[:size]])
    for call in calls:
        call.finish(code_pb2.INTERNAL)  # kept in any case
    ids = [one.span_id for one in kept.spans()]
    assert len(ids) >= len(calls) * (len(stages) + 1)
    assert len(set(ids)) == len(ids)


def test_every_exporter_is_sent_the_same_ids(tracing: Tracing, kept: KeptSpans) -> None:
    whole_call(tracing)
    first, second = kept.spans(), kept.spans()
    assert [one.span_id for one in first] == [one.span_id for one in second]


@pytest.mark.parametrize(
    ("peer", "attributes"),
    [
        ("ipv4:127.0.0.1:5", {"client.address": "127.0.0.1", "client.port": 5}),
        ("ipv6:[::1]:5", {"client.address": "::1", "client.port": 5}),
        ("ipv6:%5B::1%5D:5", {"client.address": "::1", "client.port": 5}),
        ("unix:", {"client.address": "unix:"}),
        ("", {}),
    ],
)
def test_a_peer_is_an_address_and_a_port(peer: str, attributes: dict[str, str | int]) -> None:
    assert of_peer(peer) == attributes
