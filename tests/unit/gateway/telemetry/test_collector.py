from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.telemetry.collector import collector_exporter
from gateway.telemetry.collector_address import UnknownCollector
from gateway.telemetry.otlp_sender import GrpcSender, HttpSender

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"


@pytest.mark.parametrize(
    ("endpoint", "environment", "url"),
    [
        ("http://c:4318", {}, "http://c:4318/v1/traces"),
        ("http://c:4318/", {}, "http://c:4318/v1/traces"),
        ("http://c:4318/v1/traces", {}, "http://c:4318/v1/traces"),
        ("https://c/otlp", {}, "https://c/otlp/v1/traces"),
        (None, {ENDPOINT: "http://c:4318"}, "http://c:4318/v1/traces"),
        (None, {TRACES: "http://c:4318/my/path"}, "http://c:4318/my/path"),
        (None, {TRACES: "http://t:1/p", ENDPOINT: "http://c:4318"}, "http://t:1/p"),
        ("http://own:4318", {TRACES: "http://t:1/p"}, "http://own:4318/v1/traces"),
        ("c:4318", {PROTOCOL: "http/protobuf"}, "http://c:4318/v1/traces"),
    ],
)
def test_spans_go_by_http_to(
    endpoint: str | None, environment: Mapping[str, str], url: str
) -> None:
    exporter = collector_exporter(endpoint, environment)
    assert isinstance(exporter, HttpSender)
    exporter.close()
    assert exporter._url == url


@pytest.mark.parametrize(
    ("endpoint", "environment", "target"),
    [
        ("c:4317", {}, "c:4317"),
        ("http://c:4317", {}, "c:4317"),
        ("https://c:4317", {}, "c:4317"),
        ("[::1]:4317", {}, "[::1]:4317"),
        (None, {ENDPOINT: "c:4317"}, "c:4317"),
        ("http://c:4318", {PROTOCOL: "grpc"}, "c:4318"),
        ("http://c:1", {PROTOCOL: "http/protobuf", TRACES_PROTOCOL: "grpc"}, "c:1"),
    ],
)
def test_spans_go_by_grpc_to(
    endpoint: str | None, environment: Mapping[str, str], target: str
) -> None:
    exporter = collector_exporter(endpoint, environment)
    assert isinstance(exporter, GrpcSender)
    exporter.close()
    assert exporter._target == target


@pytest.mark.parametrize(
    ("endpoint", "environment"), [(None, {}), ("", {}), (None, {ENDPOINT: ""})]
)
def test_without_an_address_there_is_no_exporter(
    endpoint: str | None, environment: Mapping[str, str]
) -> None:
    assert collector_exporter(endpoint, environment) is None


@pytest.mark.parametrize(
    ("endpoint", "environment"),
    [
        ("ftp://c", {}),
        ("http://", {}),
        ("http://c:port", {}),
        ("http://c:99999", {}),
        ("http://[::1", {}),
        ("http://c", {PROTOCOL: "http/json"}),
    ],
)
def test_what_no_exporter_speaks_is_refused(endpoint: str, environment: Mapping[str, str]) -> None:
    with pytest.raises(UnknownCollector):
        collector_exporter(endpoint, environment)


@pytest.mark.parametrize("scheme", ["https://c:4317", "https://c:4318"])
def test_certificates_that_cannot_be_read_are_refused_at_once(scheme: str) -> None:
    with pytest.raises(UnknownCollector, match=r"nowhere\.pem"):
        collector_exporter(scheme, {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.pem"})
