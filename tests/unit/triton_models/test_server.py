from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from triton_models.embedded.errors import TritonExited, TritonNotReady
from triton_models.embedded.installation import Installation
from triton_models.server import EmbeddedTriton

Build = Callable[..., EmbeddedTriton]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Build an EmbeddedTriton whose server is a shell script."""

    def build(
        script: str, *, restart: bool = False, log_file: Path | None = None
    ) -> EmbeddedTriton:
        server = tmp_path / "tritonserver"
        server.write_text(f"#!/bin/sh\n{script}\n")
        server.chmod(0o755)
        for name in ("libtriton_python.so", "triton_python_backend_utils.py", "stub"):
            (tmp_path / name).touch()
        found = Installation(
            server=server,
            python_backend=tmp_path,
            stub=tmp_path / "stub",
            libraries=tmp_path,
            libpython=tmp_path / "libpython3.11.so.1.0",
            python_folder=tmp_path,
        )
        return EmbeddedTriton(
            tmp_path / "models", restart=restart, log_file=log_file, find=lambda: found
        )

    return build


def test_an_early_end_is_told_with_exit_code_and_last_lines(build: Build) -> None:
    with build("echo no such option; exit 3") as triton, pytest.raises(TritonExited) as caught:
        triton.wait_ready()

    assert caught.value.exit_code == 3
    assert caught.value.log_lines == ("no such option",)
    assert str(caught.value) == "Triton ended with exit code 3. Its last lines:\n  no such option"


def test_a_server_that_never_answers_is_not_ready(build: Build) -> None:
    with (
        build("exec sleep 60") as triton,
        pytest.raises(TritonNotReady, match=r"not ready after 0\.2 s"),
    ):
        triton.wait_ready(timeout_s=0.2)


def test_the_addresses_are_known_before_the_start(build: Build) -> None:
    triton = build("exit 0")
    try:
        assert triton.target.startswith("127.0.0.1:")
        assert triton.http_url.startswith("http://127.0.0.1:")
        assert triton.metrics_url.endswith("/metrics")
        assert triton.pid is None
    finally:
        triton.stop()


def test_a_dead_server_is_started_again(build: Build, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    script = f"echo run >> {runs}; [ $(wc -l < {runs}) -lt 3 ] && exit 1; exec sleep 60"
    with build(script, restart=True) as triton, pytest.raises(TritonNotReady):
        triton.wait_ready(timeout_s=2)

    assert runs.read_text() == "run\n" * 3


def test_a_stopped_server_stays_stopped(build: Build, tmp_path: Path) -> None:
    triton = build(f"echo run >> {tmp_path}/runs; exec sleep 60", restart=True)
    triton.start()
    with pytest.raises(TritonNotReady):
        triton.wait_ready(timeout_s=0.3)

    triton.stop()

    assert triton.pid is None
    assert not [thread for thread in threading.enumerate() if thread.name == "embedded-triton"]
    assert (tmp_path / "runs").read_text() == "run\n"


def test_a_server_that_ignores_sigterm_is_killed_after_the_grace(build: Build) -> None:
    triton = build("trap '' TERM; while true; do sleep 1; done")
    triton.start()
    with pytest.raises(TritonNotReady):
        triton.wait_ready(timeout_s=0.3)

    triton.stop(grace_s=0.1)

    assert triton.pid is None


def test_the_log_file_is_kept(build: Build, tmp_path: Path) -> None:
    log_file = tmp_path / "triton.log"
    with build("echo hello; exit 1", log_file=log_file) as triton, pytest.raises(TritonExited):
        triton.wait_ready()

    assert log_file.read_text() == "hello\n"


def test_it_cannot_be_started_twice(build: Build) -> None:
    with build("exec sleep 60") as triton, pytest.raises(RuntimeError, match="once"):
        triton.start()
