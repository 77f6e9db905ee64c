"""What is sent, to collectors that are not ours."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import pytest
from fake_runner import FakeCall
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from span_collectors import Taken, grpc_collector, http_collector, write_certificate
from span_makers import span

from gateway.telemetry.building import build_tracing
from gateway.telemetry.collector import collector_exporter
from gateway.telemetry.exporter import SendFailed
from gateway.telemetry.otlp_protobuf import ProtobufSpans
from gateway.telemetry.otlp_sender import GrpcSender, HttpSender, SenderOptions
from gateway.telemetry.span_encoding import by_source

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
ENCODER = ProtobufSpans()
REQUEST = ENCODER.request(by_source(ENCODER, [span(f"call {n}", n) for n in range(1, 60)]).items())
COLLECTORS = {"grpc": grpc_collector, "http": http_collector}
AGAIN = {"grpc": grpc.StatusCode.UNAVAILABLE, "http": 503}
NEVER = {"grpc": grpc.StatusCode.INVALID_ARGUMENT, "http": 400}


@pytest.fixture(params=COLLECTORS)
def protocol(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def taken(protocol: str) -> Iterator[Taken]:
    """A collector that is there."""
    with COLLECTORS[protocol]() as taken:
        yield taken


def sender(
    taken: Taken, environment: Mapping[str, str] | None = None, timeout_s: float = 10
) -> GrpcSender | HttpSender:
    variables = {"OTEL_EXPORTER_OTLP_TIMEOUT": str(timeout_s), **(environment or {})}
    options = SenderOptions.of(variables)
    if "://" in taken.url:
        return HttpSender(taken.url, options)
    return GrpcSender(taken.url, options, secure=False)


def test_a_collector_gets_the_spans_as_they_are(taken: Taken) -> None:
    exporter = sender(taken)
    exporter.send(REQUEST)
    exporter.send(REQUEST)
    exporter.close()
    assert [request.SerializeToString(deterministic=True) for request in taken.requests] == 2 * [
        taken.requests[0].SerializeToString(deterministic=True)
    ]
    assert [one.name for one in taken.spans[:59]] == [f"call {n}" for n in range(1, 60)]


def test_headers_go_with_every_request(taken: Taken) -> None:
    said = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20x,x-tenant=north"}
    exporter = sender(taken, said)
    exporter.send(REQUEST)
    exporter.close()
    (headers,) = taken.headers
    assert (headers["authorization"], headers["x-tenant"]) == ("Bearer x", "north")


def test_requests_are_packed_where_that_is_wanted(taken: Taken, protocol: str) -> None:
    exporter = sender(taken, {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"})
    exporter.send(REQUEST)
    exporter.close()
    assert len(taken.spans) == 59
    if protocol == "http":
        assert taken.headers[0]["content-encoding"] == "gzip"
        assert taken.sizes[0] < len(REQUEST) / 2


def test_a_collector_that_is_busy_is_asked_again(taken: Taken, protocol: str) -> None:
    taken.refusals = [AGAIN[protocol]] * 2
    exporter = sender(taken)
    exporter.send(REQUEST)
    exporter.close()
    assert (len(taken.headers), len(taken.requests)) == (3, 1)


def test_one_that_stays_busy_is_given_up(taken: Taken, protocol: str) -> None:
    taken.refusals = [AGAIN[protocol]] * 1000
    exporter = sender(taken, timeout_s=0.5)
    with pytest.raises(SendFailed, match=r"UNAVAILABLE|503"):
        exporter.send(REQUEST)
    exporter.close()
    assert 0 < len(taken.headers) < 100
    assert taken.requests == []


def test_one_that_refuses_for_good_is_asked_once(taken: Taken, protocol: str) -> None:
    taken.refusals = [NEVER[protocol]] * 2
    exporter = sender(taken)
    with pytest.raises(SendFailed) as failed:
        exporter.send(REQUEST)
    exporter.close()
    assert len(taken.headers) == 1
    assert failed.value.rejected is None


def test_spans_that_it_rejects_are_counted(taken: Taken) -> None:
    taken.rejected = 7
    exporter = sender(taken)
    with pytest.raises(SendFailed, match="too old") as failed:
        exporter.send(REQUEST)
    exporter.close()
    assert failed.value.rejected == 7


def test_nothing_is_sent_again_once_it_is_closed(taken: Taken, protocol: str) -> None:
    taken.refusals = [AGAIN[protocol]] * 1000
    exporter = sender(taken, timeout_s=600)
    exporter.close()
    with pytest.raises(SendFailed):  # at once: the test would time out
        exporter.send(REQUEST)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens, and nobody else can."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


@pytest.mark.parametrize("form", ["{}", "http://{}"], ids=COLLECTORS)
def test_while_no_collector_is_there_calls_go_on_and_what_is_lost_is_counted(
    form: str, nobody: str
) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.05",
        "OTEL_BSP_MAX_QUEUE_SIZE": "50",
        "OTEL_BSP_SCHEDULE_DELAY": "1",
        **({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"} if "http" in form else {}),
    }
    tracing = build_tracing(otlp_endpoint=form.format(nobody), environment=environment)
    for _ in range(200):
        call = tracing.start_call(FakeCall(METHOD))
        call.add_stage("decode", 1, 2)
        call.finish(0)
    tracing.shutdown(20)
    assert tracing.sent_spans == 0
    # Two spans a call; where none was made of it, three are counted.
    assert 400 <= tracing.dropped_spans <= 600


def test_a_trace_that_another_program_began_is_whole_at_its_collector(
    taken: Taken, protocol: str
) -> None:
    theirs = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    endpoint = taken.url.removesuffix("/v1/traces")
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": {"http": "http/protobuf"}.get(protocol, "grpc")}
    tracing = build_tracing(otlp_endpoint=endpoint, environment=variables)
    headers: dict[str, str] = {}
    with provider.get_tracer("shop").start_as_current_span("checkout"):
        TraceContextTextMapPropagator().inject(headers)
        call = tracing.start_call(FakeCall(METHOD, headers))
        call.add_stage("decode", 1, 2)
        call.finish(0)
    tracing.shutdown(20)
    (parent,) = theirs.get_finished_spans()
    decode, server = taken.spans
    trace_id = parent.context.trace_id.to_bytes(16, "big")
    assert {one.trace_id for one in taken.spans} == {trace_id}
    assert server.parent_span_id == parent.context.span_id.to_bytes(8, "big")
    assert (server.name, decode.parent_span_id) == (METHOD, server.span_id)


@pytest.mark.parametrize("known", [True, False])
def test_a_collectors_certificate_must_be_signed_by_who_may(known: bool, tmp_path: Path) -> None:
    certificate = tmp_path / "collector.pem"
    write_certificate(certificate)
    variables = {"OTEL_EXPORTER_OTLP_TIMEOUT": "5" if known else "0.1"}
    if known:
        variables["OTEL_EXPORTER_OTLP_CERTIFICATE"] = str(certificate)
    with http_collector(certificate) as taken:
        exporter = collector_exporter(taken.url, variables)
        assert exporter is not None
        if known:
            exporter.send(REQUEST)
        else:
            with pytest.raises(SendFailed, match="SSLError"):
                exporter.send(REQUEST)
        exporter.close()
    assert bool(taken.requests) is known


def test_the_variables_for_traces_count_before_the_others() -> None:
    said = SenderOptions.of(
        {
            "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "4",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=1",
            "OTEL_EXPORTER_OTLP_HEADERS": "b=2",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "c.pem",
        }
    )
    assert said == SenderOptions({"a": "1"}, 4.0, True, None, "c.pem", None)


@pytest.mark.parametrize("text", ["soon", "-1", "0"])
def test_a_timeout_that_is_none_is_the_usual_one(text: str) -> None:
    assert SenderOptions.of({"OTEL_EXPORTER_OTLP_TIMEOUT": text}).timeout_s == 10
