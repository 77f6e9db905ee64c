from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from fake_runner import FakeCall
from opentelemetry import trace
from span_collectors import http_collector

from gateway.telemetry.building import build_tracing, process_source
from gateway.telemetry.collector_address import UnknownCollector
from gateway.telemetry.tracing import NO_TRACE

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
NOTHING: Mapping[str, str] = {}


@pytest.fixture(autouse=True)
def no_otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resource is read from the process's own environment."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "traces" / "trident.jsonl"


def written(file: Path) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """The attributes of the resource, and a span."""
    for line in file.read_text().splitlines():
        for part in json.loads(line)["resourceSpans"]:
            resource = {
                one["key"]: one["value"]["stringValue"] for one in part["resource"]["attributes"]
            }
            for scope in part["scopeSpans"]:
                for span in scope["spans"]:
                    yield resource, span


def test_a_call_is_in_the_file_after_shutdown(file: Path) -> None:
    tracing = build_tracing(traces_file=file, environment=NOTHING)
    call = tracing.start_call(FakeCall(METHOD))
    call.add_stage("decode", 1, 2)
    call.finish(0)
    tracing.shutdown()
    assert [span["name"] for _, span in written(file)] == ["decode", METHOD]


def test_the_resource_says_which_process_it_was(file: Path) -> None:
    tracing = build_tracing(traces_file=file, environment=NOTHING)
    tracing.start_call(FakeCall(METHOD)).finish(0)
    tracing.shutdown()
    ((resource, _),) = written(file)
    assert resource["service.name"] == "trident-gateway"
    assert resource["service.version"] == version("trident")
    assert len(resource["service.instance.id"]) == 36


def test_two_processes_of_a_service_are_told_apart() -> None:
    one, other = (process_source("trident-gateway", "x").resource for _ in range(2))
    assert one["service.instance.id"] != other["service.instance.id"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SERVICE_NAME", "shop"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,deployment.environment.name=test"),
    ],
)
def test_the_standard_variables_name_the_service(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    resource = process_source("trident-gateway", "x").resource
    assert resource["service.name"] == "shop"
    environment = resource.get("deployment.environment.name")
    assert environment == ("test" if name == "OTEL_RESOURCE_ATTRIBUTES" else None)


def test_without_a_file_and_a_collector_nothing_is_built() -> None:
    tracing = build_tracing(service_name="x", environment=NOTHING)
    assert not tracing.is_on
    assert tracing.start_call(FakeCall(METHOD)) is NO_TRACE


def test_a_sample_ratio_of_zero_leaves_calls_whose_client_asks_for_a_trace(file: Path) -> None:
    tracing = build_tracing(traces_file=file, sample_ratio=0, environment=NOTHING)
    tracing.start_call(FakeCall(METHOD)).finish(0)
    parent = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    tracing.start_call(FakeCall(METHOD, parent)).finish(0)
    tracing.shutdown()
    ((_, span),) = written(file)
    assert (span["traceId"], span["parentSpanId"]) == ("a" * 32, "b" * 16)


def test_the_file_and_the_collector_each_get_the_spans(file: Path) -> None:
    with http_collector() as taken:
        tracing = build_tracing(traces_file=file, otlp_endpoint=taken.url, environment=NOTHING)
        tracing.start_call(FakeCall(METHOD)).finish(0)
        tracing.shutdown(20)
    ((_, here),) = written(file)
    (there,) = taken.spans
    assert (here["traceId"], here["spanId"]) == (there.trace_id.hex(), there.span_id.hex())


def test_the_collectors_address_can_stand_in_the_environment() -> None:
    with http_collector() as taken:
        endpoint = taken.url.removesuffix("/v1/traces")
        tracing = build_tracing(environment={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
        tracing.start_call(FakeCall(METHOD)).finish(0)
        tracing.shutdown(20)
    assert len(taken.spans) == 1


def test_failed_and_slow_calls_are_kept_as_the_settings_say(file: Path) -> None:
    tracing = build_tracing(
        traces_file=file, sample_ratio=0, keep_errors=False, keep_slower_s=0, environment=NOTHING
    )
    tracing.start_call(FakeCall(METHOD)).finish(0)
    tracing.shutdown()
    tracing = build_tracing(traces_file=file, sample_ratio=0, environment=NOTHING)
    tracing.start_call(FakeCall(METHOD)).finish(0)
    tracing.start_call(FakeCall(METHOD)).finish(13)
    tracing.shutdown()
    codes = [
        next(one["value"]["stringValue"] for one in span["attributes"]
             if one["key"] == "rpc.response.status_code")
        for _, span in written(file)
    ]  # fmt: skip
    assert codes == ["OK", "INTERNAL"]


def test_a_sink_gets_every_call() -> None:
    ended: list[str] = []
    tracing = build_tracing(environment=NOTHING, sink=lambda call: ended.append(call.method))
    tracing.start_call(FakeCall(METHOD)).finish(0)
    assert ended == [METHOD]


def test_a_collector_that_cannot_be_understood_is_refused_at_once() -> None:
    with pytest.raises(UnknownCollector, match="ftp"):
        build_tracing(otlp_endpoint="ftp://collector", environment=NOTHING)


def test_no_global_provider_is_set(file: Path) -> None:
    before = trace.get_tracer_provider()
    build_tracing(traces_file=file, environment=NOTHING).shutdown()
    assert trace.get_tracer_provider() is before
