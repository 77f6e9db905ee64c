from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from triton_models.embedded.command import Launch, Ports
from triton_models.embedded.installation import Installation

LAUNCH = Launch(
    installation=Installation(
        server=Path("/wheel/tritonserver"),
        python_backend=Path("/wheel/python"),
        stub=Path("/wheel/stub"),
        libraries=Path("/wheel/libs"),
        libpython=Path("/lib/libpython3.11.so.1.0"),
        python_folder=Path("/venv/bin"),
    ),
    backends=Path("/tmp/backends"),
    models=Path("/store/models"),
    ports=Ports(grpc=1, http=2, metrics=3),
    shared_memory_prefix="trident_7_",
)


def test_the_server_comes_first_and_loads_nothing_by_itself() -> None:
    arguments = LAUNCH.arguments()

    assert arguments[0] == "/wheel/tritonserver"
    assert {"--model-control-mode=explicit", "--model-repository=/store/models"} < set(arguments)
    assert not any(argument.startswith("--load-model") for argument in arguments)


@pytest.mark.parametrize(("what", "port"), [("grpc", 1), ("http", 2), ("metrics", 3)])
def test_every_endpoint_listens_on_this_machine_only(what: str, port: int) -> None:
    assert {f"--{what}-address=127.0.0.1", f"--{what}-port={port}"} < set(LAUNCH.arguments())


def test_shared_memory_bears_the_given_prefix() -> None:
    expected = "--backend-config=python,shm-region-prefix-name=trident_7_"

    assert expected in LAUNCH.arguments()


def test_nothing_is_traced_without_a_receiver() -> None:
    assert not [argument for argument in LAUNCH.arguments() if "trace" in argument]


def test_every_request_is_traced_to_the_receiver() -> None:
    launch = replace(LAUNCH, otlp_traces_url="http://127.0.0.1:9/v1/traces")

    assert {
        "--trace-config=mode=opentelemetry",
        "--trace-config=rate=1",
        "--trace-config=opentelemetry,url=http://127.0.0.1:9/v1/traces",
    } < set(launch.arguments())


def test_only_requests_with_a_parent_are_traced_where_few_are_sampled() -> None:
    launch = replace(LAUNCH, otlp_traces_url="http://127.0.0.1:9/v1/traces", trace_all=False)
    rates = [argument for argument in launch.arguments() if "rate=" in argument]
    assert rates == ["--trace-config=rate=0"]


def test_the_stubs_find_this_environments_packages_and_libraries() -> None:
    environment = LAUNCH.environment({"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/opt/lib"})

    assert environment["PATH"] == "/venv/bin:/usr/bin"
    assert environment["LD_LIBRARY_PATH"] == "/wheel/libs:/tmp/backends/lib:/opt/lib"


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONHOME", "OTEL_RESOURCE_ATTRIBUTES"])
def test_settings_of_the_gateway_itself_do_not_reach_triton(name: str) -> None:
    environment = LAUNCH.environment({name: "x", "HOME": "/root"})

    assert name not in environment
    assert environment["HOME"] == "/root"


def test_spans_bypass_a_proxy() -> None:
    assert LAUNCH.environment({"no_proxy": "example.com"})["no_proxy"] == "127.0.0.1"
