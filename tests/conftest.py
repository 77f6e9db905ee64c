"""What a missing tool means: a skip on a developer's machine, a failure where CI promises it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.settings import Settings
from gateway.transport.envoy_process import EnvoyMissing, check_envoy
from triton_models.embedded.errors import EmbeddedTritonError
from triton_models.embedded.installation import find_installation


@pytest.fixture(scope="session", autouse=True)
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the runs of all tests are written down."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIDENT_RUNS", str(folder))
        yield folder


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting comes from the developer's shell, and nothing is written beside the sources."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TRIDENT_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def missing_tool(reason: str) -> None:
    """Skip the test, or fail it when the environment says ``CI=true``."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def embedded_triton_available() -> None:
    """Skip, or in CI fail, where no embedded Triton can run."""
    try:
        find_installation()
    except EmbeddedTritonError as error:
        missing_tool(str(error))


@pytest.fixture(scope="session")
def envoy_available() -> None:
    """Skip, or in CI fail, where no Envoy with our Python can run."""
    try:
        check_envoy()
    except EnvoyMissing as error:
        missing_tool(str(error))


@pytest.fixture(scope="session", params=["grpc", "envoy"])
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport; skips, or in CI fails, where no Envoy can run."""
    name: str = request.param
    if name == "envoy":
        request.getfixturevalue("envoy_available")
    return name


@pytest.fixture(scope="session", name="missing_tool")
def say_what_is_missing() -> Callable[[str], None]:
    """What to call with the reason where a tool is missing."""
    return missing_tool
