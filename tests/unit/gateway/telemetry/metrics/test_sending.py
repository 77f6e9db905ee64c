from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
from call_records import START_NS, folded, record, records, shown
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_collectors import Collected, grpc_collector, http_collector
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http
from opentelemetry.sdk.resources import Resource

from gateway.telemetry.collector_address import UnknownCollector
from gateway.telemetry.metrics.collector import metrics_exporter
from gateway.telemetry.metrics.grid import SCALE
from gateway.telemetry.metrics.instruments import (
    ACTIVE_CALLS,
    CACHE_HITS,
    STEP_DURATION,
)
from gateway.telemetry.metrics.otlp import metrics_data
from gateway.telemetry.metrics.sending import MetricsSender, export_interval_s
from gateway.telemetry.metrics.snapshot import Snapshot
from gateway.telemetry.record import CallRecord

RESOURCE = Resource({"service.name": "g"})
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
METRICS = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


def some() -> Snapshot:
    tally = folded(record(("decode", 4), trace_id=77), record(("decode", 4)), record(total_ms=0))
    tally.count(CACHE_HITS, (), 5)
    tally.observe(STEP_DURATION, ("t", "a", "r", "score", "queue"), np.array([2, 0]), 1.5)
    return shown(tally, {(ACTIVE_CALLS, ()): 3.0})


@settings(deadline=None)
@given(st.lists(records(), max_size=15))
def test_exponential_histograms_hold_every_call(calls: list[CallRecord]) -> None:
    snapshot = shown(folded(*calls))

    request = encode_metrics(metrics_data(snapshot, RESOURCE))

    ((scope,),) = ([*one.scope_metrics] for one in request.resource_metrics)
    sent = {metric.name: metric for metric in scope.metrics}
    for one in snapshot.families:
        if one.instrument.kind != "histogram":
            continue
        points = sent[one.instrument.name].exponential_histogram.data_points
        for point, expected in zip(points, one.histograms, strict=True):
            assert (point.count, point.sum, point.scale) == (expected.count, expected.sum, SCALE)
            assert point.zero_count + sum(point.positive.bucket_counts) == expected.count
            assert list(point.positive.bucket_counts) == expected.exponential.counts.tolist()
            assert not point.HasField("min")


@pytest.mark.parametrize("collector", [grpc_collector, http_collector])
def test_a_collector_gets_all_of_it(
    collector: Callable[[], AbstractContextManager[Collected]],
) -> None:
    with collector() as collected:
        exporter = metrics_exporter({ENDPOINT: collected.target})
        assert exporter is not None
        sender = MetricsSender(exporter, some, RESOURCE, every_s=0.01)
        sender.start()
        collected.wait(2)
        sender.stop()

    metrics = collected.metrics
    assert collected.resource["service.name"] == "g"
    duration = metrics["rpc.server.call.duration"]
    assert duration.unit == "s"
    (point,) = duration.exponential_histogram.data_points
    assert (point.count, point.zero_count, point.sum) == (3, 1, 0.008)
    # 2^(-64/8) < 4 ms <= 2^(-63/8)
    assert (point.positive.offset, list(point.positive.bucket_counts)) == (-64, [2])
    assert point.start_time_unix_nano == START_NS < point.time_unix_nano
    (exemplar,) = point.exemplars
    assert (exemplar.trace_id[-1], exemplar.as_double) == (77, 0.004)
    assert metrics["trident.cache.hits"].sum.is_monotonic
    assert metrics["trident.cache.hits"].sum.data_points[0].as_double == 5
    assert metrics["trident.calls.active"].gauge.data_points[0].as_double == 3
    (step,) = metrics["trident.step.duration"].histogram.data_points
    assert (list(step.bucket_counts), list(step.explicit_bounds), step.sum) == ([2], [], 1.5)


def test_the_last_is_sent_at_the_end() -> None:
    with http_collector() as collected:
        exporter = metrics_exporter({ENDPOINT: collected.target})
        assert exporter is not None
        sender = MetricsSender(exporter, some, RESOURCE, every_s=3600)
        sender.start()
        sender.stop()

    assert len(collected.requests) == 1


def test_a_collector_that_hangs_holds_up_no_end(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        exporter = metrics_exporter({ENDPOINT: f"http://127.0.0.1:{deaf.getsockname()[1]}"})
        assert exporter is not None
        sender = MetricsSender(exporter, some, RESOURCE, every_s=0.01)
        sender.start()
        connection, _ = deaf.accept()
        with connection:
            sender.stop(timeout_s=0.2)
    sender._thread.join(20)

    assert "could not be sent within 0.2 s" in caplog.text


def test_what_fails_is_said_once_and_again_when_it_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gathered = threading.Semaphore(0)
    broken = True

    def gather() -> Snapshot:
        gathered.release()
        if broken:
            raise RuntimeError("away")
        return some()

    with http_collector() as collected:
        exporter = metrics_exporter({ENDPOINT: collected.target})
        assert exporter is not None
        sender = MetricsSender(exporter, gather, RESOURCE, every_s=0.001)
        sender.start()
        for _ in range(3):
            assert gathered.acquire(timeout=20)
        broken = False
        collected.wait(1)
        sender.stop()

    said = [one.message for one in caplog.records if one.message.startswith("Metrics ")]
    assert said.count("Metrics cannot be sent; tried again in silence") == 1
    assert said[-1] == "Metrics are sent again"


def test_a_collector_that_takes_no_metrics_is_complained_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gathered = threading.Semaphore(0)

    def gather() -> Snapshot:
        gathered.release()
        return some()

    with http_collector() as collected:
        exporter = metrics_exporter({METRICS: f"{collected.target}/traces-only"})
        assert exporter is not None
        sender = MetricsSender(exporter, gather, RESOURCE, every_s=0.001)
        sender.start()
        for _ in range(5):
            assert gathered.acquire(timeout=20)
        sender.stop()

    assert logging.getLogger("opentelemetry.exporter").level == logging.NOTSET
    by_exporter = [one for one in caplog.records if one.name.startswith("opentelemetry")]
    assert len(by_exporter) == 1
    assert "404" in by_exporter[0].getMessage()
    assert not collected.requests


@pytest.mark.parametrize(
    ("environment", "kind", "endpoint"),
    [
        ({ENDPOINT: "http://c:4318"}, Http, "http://c:4318/v1/metrics"),
        ({ENDPOINT: "http://c:4318/"}, Http, "http://c:4318/v1/metrics"),
        ({METRICS: "http://c:4318/my/path"}, Http, "http://c:4318/my/path"),
        ({METRICS: "http://m:1/p", ENDPOINT: "http://c:4318"}, Http, "http://m:1/p"),
        ({ENDPOINT: "c:4318", PROTOCOL: "http/protobuf"}, Http, "http://c:4318/v1/metrics"),
        ({ENDPOINT: "c:4317"}, Grpc, "c:4317"),
        ({ENDPOINT: "http://c:4317"}, Grpc, "c:4317"),
        ({ENDPOINT: "http://c:4318", PROTOCOL: "grpc"}, Grpc, "c:4318"),
    ],
)
def test_metrics_go_where_the_standard_variables_say(
    environment: dict[str, str], kind: type[object], endpoint: str
) -> None:
    exporter = metrics_exporter(environment)

    assert isinstance(exporter, kind)
    exporter.shutdown()
    assert exporter._endpoint == endpoint


@pytest.mark.parametrize(("said", "insecure"), [("true", True), ("false", False)])
def test_whether_tls_is_spoken_without_a_scheme_is_said_as_for_traces(
    said: str, insecure: bool
) -> None:
    exporter = metrics_exporter({ENDPOINT: "c:4317", "OTEL_EXPORTER_OTLP_INSECURE": said})

    assert isinstance(exporter, Grpc)
    exporter.shutdown()
    assert exporter._insecure == insecure


def test_nothing_is_sent_unless_a_collector_is_named() -> None:
    assert metrics_exporter({}) is None
    assert metrics_exporter({ENDPOINT: ""}) is None
    assert metrics_exporter({ENDPOINT: "c:4317", "OTEL_METRICS_EXPORTER": "none"}) is None


@pytest.mark.parametrize("endpoint", ["ftp://c", "http://", "http://c:port", "//"])
def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(UnknownCollector, match="collector"):
        metrics_exporter({ENDPOINT: endpoint})


def test_a_protocol_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownCollector, match="http/json"):
        metrics_exporter({ENDPOINT: "c:4317", PROTOCOL: "http/json"})


@pytest.mark.parametrize(
    ("text", "expected"), [("", 60), ("1500", 1.5), ("0", 60), ("often", 60), ("-1", 60)]
)
def test_the_interval_is_the_standard_variable(text: str, expected: float) -> None:
    assert export_interval_s({"OTEL_METRIC_EXPORT_INTERVAL": text}) == expected


def test_time_is_taken_when_it_is_gathered() -> None:
    before = time.time_ns()
    assert before <= some().now_ns <= time.time_ns()
