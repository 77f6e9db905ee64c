"""What a gateway of two workers shows of real calls, and what its Triton says of the same."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
import tiny_releases as tiny
from google.protobuf.proto import parse_length_prefixed
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from served import Gateway
from span_makers import TRACEPARENT
from tritonclient.grpc import InferenceServerClient, InferInput
from waiting import wait_for

from gateway.telemetry.metrics.native import METRIC_FAMILY
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

WAIT_S = 30
CONNECTIONS, CALLS, BAD, ROWS = 8, 5, 3, 10
DIAGNOSE = "trident.diagnose.v1.DiagnoseService/Diagnose"
CALL_COUNT = "rpc_server_call_duration_seconds_count"
RELEASE = {"trident_line": "diagnose-measurements", "trident_release": "r1"}
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


def request(size: float = 2) -> diagnose.DiagnoseRequest:
    measured = diagnose.DiagnoseRequest()
    measured.measurements.values.update({tiny.WORK: 1, tiny.SIZE: size})
    return measured


@pytest.fixture(params=["grpc", "envoy"])
def gateway(
    request: pytest.FixtureRequest,
    store: ReleaseStore,
    start_gateway: Callable[..., Gateway],
) -> Gateway:
    """Two workers on an embedded Triton."""
    if request.param == "envoy":
        request.getfixturevalue("envoy_available")
    tiny.route(store, "diagnose-measurements/r1")
    how = ("--workers", "2", "--variant", "ensemble", "--metrics-listen", "127.0.0.1:0")
    gateway = start_gateway("--embedded", "--transport", request.param, *how)
    wait_for(lambda: number(gateway, "trident_workers") == 2)
    return gateway


def said(gateway: Gateway, name: str) -> str:
    gateway.wait_line(f"{name:<10}")
    (line,) = (line for line in gateway.log if line.startswith(f"{name:<10}"))
    return line.split()[1]


def scrape(gateway: Gateway, accept: str) -> bytes:
    asked = urllib.request.Request(said(gateway, "Metrics"), headers={"Accept": accept})
    with urllib.request.urlopen(asked, timeout=WAIT_S) as answer:
        body: bytes = answer.read()
        return body


def samples(gateway: Gateway) -> list[Sample]:
    text = scrape(gateway, OPENMETRICS).decode()
    return [one for metric in text_string_to_metric_families(text) for one in metric.samples]


def total(found: list[Sample], name: str, **labels: str) -> float:
    return sum(
        one.value for one in found if one.name == name and labels.items() <= one.labels.items()
    )


def number(gateway: Gateway, name: str) -> float:
    return total(samples(gateway), name)


def ask(target: str) -> None:
    """The same calls on each of several connections, which the workers share."""
    for _ in range(CONNECTIONS):
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(target, options=options) as channel:
            stub = DiagnoseServiceStub(channel)
            for _ in range(CALLS):
                stub.Diagnose(request(), timeout=WAIT_S)
            for _ in range(BAD):
                with pytest.raises(grpc.RpcError):
                    stub.Diagnose(diagnose.DiagnoseRequest(), timeout=WAIT_S)
            batch = diagnose.BatchDiagnoseRequest(requests=[request()] * ROWS)
            stub.BatchDiagnose(batch, timeout=WAIT_S)


def traces_in(file: Path) -> Iterator[str]:
    if not file.exists():  # spans are written half a second later
        return
    for line in file.read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                yield from (span["traceId"] for span in scope["spans"])


def test_what_is_shown_is_what_was_asked_and_what_triton_did(gateway: Gateway) -> None:
    ask(gateway.target)

    found = samples(gateway)

    called = {"rpc_method": DIAGNOSE}
    ok = {"rpc_response_status_code": "OK", **RELEASE, "trident_variant": "ensemble"}
    assert total(found, CALL_COUNT, **called, **ok) == CONNECTIONS * CALLS
    bad = {"rpc_response_status_code": "INVALID_ARGUMENT"}
    assert total(found, CALL_COUNT, **called, **bad) == CONNECTIONS * BAD
    assert total(found, CALL_COUNT, rpc_method=f"{DIAGNOSE[:-8]}BatchDiagnose") == CONNECTIONS
    for stage in ("queue", "admission", "triton", "encode"):
        counted = total(
            found, "trident_stage_duration_seconds_count", trident_stage=stage, **called
        )
        assert counted == CONNECTIONS * CALLS, stage
    assert total(found, "trident_batch_rows_sum", **RELEASE) == CONNECTIONS * (CALLS + ROWS)
    assert total(found, "trident_inferences_total", **RELEASE) == CONNECTIONS * (CALLS + 1)
    assert total(found, "trident_calls_active") == 0
    assert total(found, "trident_release_serving", **RELEASE) == 1
    # Of the workers that were asked: the kernel may have given all connections to one.
    limit = total(found, "trident_admission_limit", trident_line="diagnose-measurements")
    assert limit in (64, 2 * 64)
    check_steps(gateway)
    check_native(gateway)
    check_exemplars(gateway, found)
    wait_for(lambda: traced(gateway) == CONNECTIONS * (CALLS + 1))
    assert gateway.stop() == 0


def check_steps(gateway: Gateway) -> None:
    """Every number of a step is Triton's own, which counts a moment after it has answered."""
    rows = 2 * CONNECTIONS * (CALLS + ROWS)
    wait_for(lambda: total(samples(gateway), "trident_step_batch_rows_sum", **RELEASE) >= rows)
    with InferenceServerClient(said(gateway, "Triton")) as triton:

        def settled() -> bool:
            nonlocal statistics, found
            found = samples(gateway)
            before, statistics = statistics, triton.get_inference_statistics()
            return before == statistics

        found, statistics = samples(gateway), triton.get_inference_statistics()
        wait_for(settled)
    statistics = {one.name: one for one in statistics.model_stats}
    assert total(found, "trident_triton_up", trident_triton="embedded") == 1
    for step in ("work", "answer"):
        its = {**RELEASE, "trident_step": step}
        triton_says = statistics[f"diagnose-measurements__r1__{step}"]
        assert triton_says.inference_count >= CONNECTIONS * (CALLS + ROWS)
        assert total(found, "trident_step_batch_rows_sum", **its) == triton_says.inference_count
        assert total(found, "trident_step_batch_rows_count", **its) == triton_says.execution_count
        for stage in ("queue", "compute_input", "compute_infer", "compute_output"):
            of_stage = {**its, "trident_stage": stage}
            one = getattr(triton_says.inference_stats, stage)
            assert total(found, "trident_step_duration_seconds_count", **of_stage) == one.count
            seconds = total(found, "trident_step_duration_seconds_sum", **of_stage)
            assert seconds == pytest.approx(one.ns / 1e9)
            assert seconds > 0


def traced(gateway: Gateway) -> float:
    """The times of a step that Triton's spans told."""
    name = "trident_step_traced_duration_seconds_count"
    of_step = {**RELEASE, "trident_step": "work", "trident_stage": "compute_infer"}
    return total(samples(gateway), name, **of_step)


def check_native(gateway: Gateway) -> None:
    stream = io.BytesIO(scrape(gateway, PROTOBUF))
    families = {}
    while (message := parse_length_prefixed(METRIC_FAMILY, stream)) is not None:
        families[message.name] = message
    counts = {
        frozenset((one.name, one.value) for one in metric.label): metric.histogram.sample_count
        for metric in families["rpc_server_call_duration_seconds"].metric
        if metric.histogram.positive_span
    }
    (ok,) = (
        count
        for labels, count in counts.items()
        if {("rpc_method", DIAGNOSE), ("rpc_response_status_code", "OK")} <= labels
    )
    assert ok == CONNECTIONS * CALLS


def check_exemplars(gateway: Gateway, found: list[Sample]) -> None:
    """Whoever follows an exemplar finds its trace."""
    shown = {one.exemplar.labels["trace_id"] for one in found if one.exemplar}
    assert shown
    wait_for(lambda: shown <= set(traces_in(gateway.traces)))


@pytest.mark.parametrize("gateway", ["grpc"], indirect=True)
def test_totals_outlive_a_worker_that_is_killed(gateway: Gateway) -> None:
    ask(gateway.target)
    before = total(samples(gateway), CALL_COUNT)
    assert gateway.process is not None
    worker = next(
        one
        for one in psutil.Process(gateway.process.pid).children()
        if "gateway.grpc_worker" in one.cmdline()
    )

    os.kill(worker.pid, signal.SIGKILL)
    gateway.wait_line("takes calls again")
    wait_for(lambda: number(gateway, "trident_workers") == 2)

    found = samples(gateway)
    assert total(found, CALL_COUNT) == before
    assert total(found, "trident_worker_restarts_total") == 1
    gateway.wait_serving()
    ask(gateway.target)
    assert total(samples(gateway), CALL_COUNT) == 2 * before


def test_spans_of_triton_that_find_no_place_are_counted(
    store: ReleaseStore,
    start_gateway: Callable[..., Gateway],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")  # less than a request to Triton has
    tiny.route(store, "diagnose-measurements/r1")
    how = ("--variant", "ensemble", "--metrics-listen", "127.0.0.1:0")
    gateway = start_gateway("--embedded", "--transport", "grpc", *how)
    assert number(gateway, "trident_spans_dropped_total") == 0
    tensor = InferInput("numbers", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 2), np.float32))

    # Past the gateway, so that no worker has a span of it; traced as for a call of the gateway.
    with InferenceServerClient(said(gateway, "Triton")) as triton:
        triton.infer("diagnose-measurements__r1__work", [tensor], request_id=TRACEPARENT)

    wait_for(lambda: number(gateway, "trident_spans_dropped_total") > 0)


def test_an_address_in_use_is_refused_at_once(
    store: ReleaseStore, start_gateway: Callable[..., Gateway]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AssertionError, match=f"cannot show metrics at {address}"):
            start_gateway("--embedded", "--metrics-listen", address)
