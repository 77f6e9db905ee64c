from __future__ import annotations

import grpc
import pytest
from google.rpc import code_pb2
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gateway.telemetry.sampled_call import peer_attributes
from gateway.telemetry.tracing import Tracing

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
TRITON = "inference.GRPCInferenceService/ModelInfer"
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FROM_CLIENT = {
    "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01",
    "tracestate": "vendor=1,other=2",
    "baggage": "tenant=north",
}
CLIENT_FAULTS = [
    "OK", "CANCELLED", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNAUTHENTICATED",
]  # fmt: skip


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


class TritonSays(grpc.RpcError):
    """What grpc raises."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "connection refused"


def test_stages_and_the_call_to_triton_are_children_of_the_server_span(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    call = tracing.start_call(METHOD, {})
    for name in ("decode", "queue"):
        with call.stage(name):
            pass
    with call.triton_call("risk__r1"):
        pass
    with call.stage("encode"):
        pass
    call.finish(code_pb2.OK)
    found = by_name(exporter)
    assert list(found) == ["decode", "queue", TRITON, "encode", METHOD]
    server = found.pop(METHOD)
    assert {span.parent and span.parent.span_id for span in found.values()} == {
        server.context.span_id
    }
    assert {span.context.trace_id for span in found.values()} == {server.context.trace_id}
    assert found["decode"].kind is SpanKind.INTERNAL


def test_a_stage_that_is_told_late_has_its_own_times(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    began = 1_700_000_000_000_000_017
    call = tracing.start_call(METHOD, {}, start_ns=began)
    with call.stage("decode", start_ns=began + 5):
        pass
    call.finish(code_pb2.OK)
    span = by_name(exporter)["decode"]
    assert span.start_time == began + 5
    assert span.end_time is not None
    assert span.end_time > began + 5


def test_stages_follow_each_other_in_time(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    call = tracing.start_call(METHOD, {})
    with call.stage("decode"):
        pass
    with call.triton_call("risk"):
        pass
    call.finish(code_pb2.OK)
    found = by_name(exporter)
    times = [
        time
        for name in ("decode", TRITON)
        for time in (found[name].start_time or 0, found[name].end_time or 0)
    ]
    server = found[METHOD]
    assert [server.start_time, *times, server.end_time] == sorted(
        [server.start_time or 0, *times, server.end_time or 0]
    )


def test_a_stage_that_failed_says_with_what(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    call = tracing.start_call(METHOD, {})
    with pytest.raises(KeyError), call.stage("decode"):
        raise KeyError("x")
    call.finish(code_pb2.INVALID_ARGUMENT)
    found = by_name(exporter)
    assert (found["decode"].attributes or {})["error.type"] == "KeyError"
    # The call decides whether that is a fault of the server.
    assert found["decode"].status.status_code is StatusCode.UNSET


def test_triton_gets_the_context_of_its_own_client_span(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    call = tracing.start_call(METHOD, FROM_CLIENT)
    with call.triton_call("risk__r1") as headers:
        sent = dict(headers)
    call.finish(code_pb2.OK)
    span = by_name(exporter)[TRITON]
    _, trace_id, span_id, flags = sent.pop("traceparent").split("-")
    assert (trace_id, span_id) == (TRACE_ID, f"{span.context.span_id:016x}")
    assert int(flags, 16) & 1
    assert sent == {"tracestate": "vendor=1,other=2", "baggage": "tenant=north"}
    assert span.kind is SpanKind.CLIENT
    assert dict(span.attributes or {}) == {
        "rpc.system.name": "grpc",
        "rpc.method": TRITON,
        "trident.model": "risk__r1",
        "rpc.response.status_code": "OK",
    }


def test_what_triton_answered_stands_on_the_call_to_triton_alone(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    call = tracing.start_call(METHOD, {})
    with pytest.raises(TritonSays), call.triton_call("risk"):
        raise TritonSays
    call.finish(code_pb2.RESOURCE_EXHAUSTED)
    found = by_name(exporter)
    asked, server = found[TRITON], found[METHOD]
    assert (asked.attributes or {})["rpc.response.status_code"] == "UNAVAILABLE"
    assert (asked.attributes or {})["error.type"] == "UNAVAILABLE"
    assert asked.status.status_code is StatusCode.ERROR
    assert asked.status.description == "connection refused"
    assert server.status.status_code is StatusCode.UNSET


def test_a_call_to_triton_that_no_status_ended_names_the_exception(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    call = tracing.start_call(METHOD, {})
    with pytest.raises(TimeoutError), call.triton_call("risk"):
        raise TimeoutError("5 s")
    call.finish(code_pb2.DEADLINE_EXCEEDED)
    span = by_name(exporter)[TRITON]
    assert (span.attributes or {})["error.type"] == "TimeoutError"
    assert "rpc.response.status_code" not in (span.attributes or {})
    assert span.status.description == "5 s"


@pytest.mark.parametrize("name", code_pb2.Code.keys())
def test_only_the_servers_faults_are_errors(
    name: str, tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    tracing.start_call(METHOD, {}).finish(code_pb2.Code.Value(name))
    span = by_name(exporter)[METHOD]
    fault = name not in CLIENT_FAULTS
    attributes = span.attributes or {}
    assert attributes["rpc.response.status_code"] == name
    assert attributes.get("error.type") == (name if fault else None)
    assert span.status.status_code is (StatusCode.ERROR if fault else StatusCode.UNSET)


def test_a_fault_of_the_server_is_recorded_with_its_exception(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    tracing.start_call(METHOD, {}).finish(code_pb2.INTERNAL, RuntimeError("broken"))
    span = by_name(exporter)[METHOD]
    (event,) = span.events
    assert event.name == "exception"
    assert (event.attributes or {})["exception.type"] == "RuntimeError"
    assert span.status.description == "broken"


def test_a_refusal_records_no_exception(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    tracing.start_call(METHOD, {}).finish(code_pb2.INVALID_ARGUMENT, ValueError("not so"))
    assert not by_name(exporter)[METHOD].events


def test_the_server_span_says_who_asked_and_which_release_answered(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    call = tracing.start_call(METHOD, {}, peer=lambda: "ipv4:10.0.0.7:4711")
    call.set_release("score-risk", "r1", "ensemble")
    call.set_attribute("trident.rows", 3)
    call.finish(code_pb2.OK)
    attributes = dict(by_name(exporter)[METHOD].attributes or {})
    assert attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "OK",
        "client.address": "10.0.0.7",
        "client.port": 4711,
        "trident.line": "score-risk",
        "trident.release": "r1",
        "trident.variant": "ensemble",
        "trident.rows": 3,
    }


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
    assert peer_attributes(peer) == attributes
