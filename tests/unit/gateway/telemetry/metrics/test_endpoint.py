from __future__ import annotations

import gzip
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from call_records import folded, record, shown
from metric_collectors import grpc_collector
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from waiting import wait_for

from gateway.telemetry.metrics.building import GatewayMetrics
from gateway.telemetry.metrics.endpoint import MetricsEndpoint
from gateway.telemetry.metrics.reporter import Metrics
from gateway.telemetry.metrics.snapshot import Snapshot

RESOURCE = {"service.name": "g"}


def some() -> Snapshot:
    return shown(folded(record(("decode", 4), trace_id=7)))


@pytest.fixture
def endpoint() -> Iterator[MetricsEndpoint]:
    endpoint = MetricsEndpoint("127.0.0.1:0", some, RESOURCE)
    endpoint.start()
    yield endpoint
    endpoint.stop()


def port_of(endpoint: MetricsEndpoint) -> int:
    return int(endpoint.url.split(":")[2].split("/")[0])


def get(url: str, **headers: str) -> tuple[str, bytes, str]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=names)
    with urllib.request.urlopen(request, timeout=20) as answer:
        encoding = answer.headers.get("Content-Encoding", "")
        return answer.headers["Content-Type"], answer.read(), encoding


def test_anybody_gets_the_text(endpoint: MetricsEndpoint) -> None:
    content_type, body, encoding = get(endpoint.url)

    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"rpc_server_call_duration_seconds_count" in body
    assert encoding == ""
    assert endpoint.url.startswith("http://127.0.0.1:")


def test_a_scraper_gets_what_it_asks_for_packed(endpoint: MetricsEndpoint) -> None:
    content_type, body, encoding = get(
        endpoint.url, Accept="application/openmetrics-text;version=1.0.0", Accept_Encoding="gzip"
    )

    assert content_type.startswith("application/openmetrics-text")
    assert encoding == "gzip"
    assert list(text_string_to_metric_families(gzip.decompress(body).decode()))


def test_a_head_has_no_body(endpoint: MetricsEndpoint) -> None:
    with socket.create_connection(("127.0.0.1", port_of(endpoint))) as client:
        client.sendall(b"HEAD /metrics HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")

    assert b"200 OK" in head
    assert body == b""


def test_there_is_nothing_else(endpoint: MetricsEndpoint) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(endpoint.url.replace("/metrics", "/"))
    with refused.value as error:
        assert error.code == 404
        assert b"The metrics are at /metrics." in error.read()


def test_what_cannot_be_shown_is_an_error_and_not_the_end() -> None:
    answers = iter([RuntimeError("away"), some()])

    def gather() -> Snapshot:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    endpoint = MetricsEndpoint("127.0.0.1:0", gather, RESOURCE)
    endpoint.start()
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(endpoint.url)
    refused.value.close()
    assert refused.value.code == 500
    assert get(endpoint.url)[1]
    endpoint.stop()


def test_one_who_says_nothing_holds_nobody_up(endpoint: MetricsEndpoint) -> None:
    with socket.create_connection(("127.0.0.1", port_of(endpoint))):
        assert get(endpoint.url)[1]


def test_an_address_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        MetricsEndpoint(f"127.0.0.1:{taken.getsockname()[1]}", some, RESOURCE)


def test_ipv6_is_understood(missing_tool: Callable[[str], None]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        missing_tool(f"no IPv6 here: {error}")
    endpoint = MetricsEndpoint("[::1]:0", some, RESOURCE)
    endpoint.start()
    assert get(endpoint.url)[1]
    endpoint.stop()


def test_a_gateway_shows_and_sends_the_same(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with grpc_collector() as collected:
        gateway = GatewayMetrics(
            tmp_path, "127.0.0.1:0", "g-1", {"OTEL_EXPORTER_OTLP_ENDPOINT": collected.target}
        )
        gateway.start()
        url, collector = gateway.where.split(", ")
        worker = Metrics(0)
        worker.start(tmp_path)
        # It is taken in a moment later.
        wait_for(lambda: b"trident_workers 1.0" in get(url)[1])
        worker.sink(record(total_ms=1))
        worker.stop()
        gateway.hub.wait_workers()
        text = get(url)[1].decode()
        gateway.stop()

    assert collector == collected.target
    assert 'target_info{service_instance_id="g-1",service_name="trident-gateway"' in text
    (point,) = collected.metrics["rpc.server.call.duration"].exponential_histogram.data_points
    assert point.count == 1
    assert collected.resource["service.instance.id"] == "g-1"
    wait_for(
        lambda: (
            not [
                one
                for one in threading.enumerate()
                if one.name.startswith("metrics") and one not in before
            ]
        )
    )


def test_a_gateway_that_never_started_can_be_stopped(tmp_path: Path) -> None:
    gateway = GatewayMetrics(tmp_path, "127.0.0.1:0", environment={})

    gateway.stop()
    gateway.stop()

    with pytest.raises(urllib.error.URLError):
        get(gateway.where)


@pytest.mark.parametrize(("why_not", "status"), [("", 200), ("nothing is routed", 503)])
def test_probes_are_answered_beside_the_metrics(why_not: str, status: int) -> None:
    endpoint = MetricsEndpoint("127.0.0.1:0", some, RESOURCE, {"/readyz": lambda: why_not})
    endpoint.start()
    try:
        url = endpoint.url.replace("/metrics", "/readyz")
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                found = error.code, error.read()
        assert found == (status, f"{why_not or 'ok'}\n".encode())
    finally:
        endpoint.stop()
