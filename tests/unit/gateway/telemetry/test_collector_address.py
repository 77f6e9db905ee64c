from __future__ import annotations

import pytest

from gateway.telemetry.collector_address import Signal, collector_address

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
INSECURE = "OTEL_EXPORTER_OTLP_INSECURE"


@pytest.mark.parametrize("signal", ["traces", "metrics"])
@pytest.mark.parametrize(
    ("environment", "secure"),
    [
        ({ENDPOINT: "c:4317"}, False),
        ({ENDPOINT: "c:4317", INSECURE: "true"}, False),
        ({ENDPOINT: "c:4317", INSECURE: "False"}, True),
        ({ENDPOINT: "http://c:4317", INSECURE: "false"}, False),
        ({ENDPOINT: "https://c:4317"}, True),
    ],
)
def test_tls_is_as_the_url_says_and_without_one_as_the_environment_does(
    signal: Signal, environment: dict[str, str], secure: bool
) -> None:
    address = collector_address(signal, environment)
    assert address is not None
    assert (address.protocol, address.target, address.secure) == ("grpc", "c:4317", secure)


def test_what_is_said_of_a_signal_counts_for_it_alone() -> None:
    environment = {
        ENDPOINT: "http://c:4318",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "m:4317",
        "OTEL_EXPORTER_OTLP_METRICS_INSECURE": "false",
    }
    traces = collector_address("traces", environment)
    metrics = collector_address("metrics", environment)
    assert traces is not None
    assert metrics is not None
    assert (traces.protocol, traces.url) == ("http/protobuf", "http://c:4318/v1/traces")
    assert (metrics.protocol, metrics.target, metrics.secure) == ("grpc", "m:4317", True)


def test_a_path_that_is_given_is_not_added_again() -> None:
    address = collector_address("metrics", {ENDPOINT: "http://c:4318/v1/metrics"})
    assert address is not None
    assert address.url == "http://c:4318/v1/metrics"
