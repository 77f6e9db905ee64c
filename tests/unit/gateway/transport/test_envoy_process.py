from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import Settings
from gateway.starting import StartFailed
from gateway.supervising.commands import worker_command
from gateway.transport import envoy_process
from gateway.transport.envoy_process import EnvoyMissing, become_envoy, check_envoy
from gateway.transport.protection import Protection


@pytest.fixture
def no_pyvoy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the wheel."""
    find = envoy_process.find_spec

    def without(name: str) -> ModuleSpec | None:
        return None if name == "pyvoy" else find(name)

    monkeypatch.setattr(envoy_process, "find_spec", without)


def settings(transport: Any) -> Settings:
    return Settings(transport=transport, triton=("127.0.0.1:1",))


def module(transport: str) -> str:
    return worker_command(settings(transport))[-1]


@pytest.mark.usefixtures("no_pyvoy")
def test_without_the_wheel_auto_is_grpc_and_envoy_is_a_failed_start() -> None:
    with pytest.raises(EnvoyMissing, match=r"pip install 'trident\[envoy\]'"):
        check_envoy()
    assert module("auto") == "gateway.grpc_worker"
    with pytest.raises(StartFailed, match="--transport envoy: pyvoy is not installed"):
        worker_command(settings("envoy"))


@pytest.mark.usefixtures("envoy_available")
def test_where_the_wheel_is_auto_is_envoy() -> None:
    assert module("auto") == module("envoy") == "gateway.envoy_worker"
    assert module("grpc") == "gateway.grpc_worker"


def test_another_system_has_no_envoy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EnvoyMissing, match="needs Linux, this is darwin"):
        check_envoy()


@pytest.mark.usefixtures("envoy_available")
def test_without_libpython_no_envoy_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("find_libpython.candidate_paths", lambda: ["/nowhere/libpython3.so"])
    with pytest.raises(EnvoyMissing, match="libpython3"):
        check_envoy()


class Became(Exception):
    """A process that would be another now."""


@pytest.mark.usefixtures("envoy_available")
def test_a_process_becomes_an_envoy_with_its_signals_blocked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked: list[Any] = []
    monkeypatch.setattr(
        envoy_process.signal, "pthread_sigmask", lambda how, mask: blocked.append((how, mask))
    )
    seen: list[Any] = []

    def execve(*given: Any) -> None:
        seen.extend(given)
        raise Became

    monkeypatch.setattr(envoy_process.os, "execve", execve)
    with pytest.raises(Became):
        become_envoy(
            app="some.module:application", listen="127.0.0.1:7", folder=tmp_path,
            protection=Protection(max_message_bytes=1), environment={"A": "1"},
        )  # fmt: skip
    path, arguments, variables = seen
    assert Path(path).name == "envoy"
    assert arguments[0] == path
    assert blocked == [(envoy_process.signal.SIG_BLOCK, envoy_process.STOP_SIGNALS)]
    assert variables["A"] == "1"
    assert variables["PYTHONPATH"].split(":")[0] == str(tmp_path)
    assert Path(variables["LD_PRELOAD"]).name.startswith("libpython")
    entry = next(tmp_path.glob("*.py")).read_text()
    assert 'sys.path.remove(".")' in entry
    assert "from some.module import application as app" in entry
