"""The supervisor starts real workers, and ends as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from manifests import routed_store

from gateway.serving import run, serve
from gateway.settings import Settings
from gateway.starting import StartFailed
from gateway.supervising.signals import StopSignals
from gateway.transport.health import MODEL_SERVICE
from triton_models.store import ReleaseStore

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("clean_environment")]

NO_TRITON = "127.0.0.1:1"


class Said:
    """What people are told, and a wait for it."""

    def __init__(self, on_line: Callable[[str], None] = lambda line: None) -> None:
        self.lines: list[str] = []
        self._on_line = on_line
        self._news = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._on_line(line)
        self._news.set()

    def find(self, start: str) -> str | None:
        return next((line for line in self.lines if line.startswith(start)), None)

    async def wait(self, start: str) -> str:
        """The line that starts so, as soon as it is said."""
        async with asyncio.timeout(20):
            while (line := self.find(start)) is None:
                self._news.clear()
                await self._news.wait()
        return line


def settings(**options: Any) -> Settings:
    return Settings(**{"listen": "127.0.0.1:0", "store": "store", "triton": (NO_TRITON,)} | options)


def stop_when(start: str) -> Said:
    """Who sends SIGTERM to this process on hearing a line that starts so."""

    def hear(line: str) -> None:
        if line.startswith(start):
            os.kill(os.getpid(), signal.SIGTERM)

    return Said(hear)


async def ask(address: str, service: str = "") -> int:
    """The health that a gateway tells, on a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        request = health_pb2.HealthCheckRequest(service=service)
        return int((await check(request, wait_for_ready=True, timeout=20)).status)


def listeners(address: str) -> set[int]:
    """The processes below this one that listen there."""
    port = int(address.rpartition(":")[2])
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in child.net_connections():
                if one.status == psutil.CONN_LISTEN and one.laddr.port == port:
                    found.add(child.pid)
    return found


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return routed_store(tmp_path / "store")


def test_the_supervisor_imports_nothing_that_only_its_workers_need() -> None:
    heavy = ("grpc", "numpy", "tritonclient", "aiohttp", "uvloop")
    program = f"import sys, gateway.serving; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


async def test_an_empty_store_is_served_says_so_and_stops_when_it_is_asked() -> None:
    signals, said = StopSignals(), Said()
    serving = asyncio.create_task(serve(settings(), said, signals))
    assert "model-builder build" in await said.wait("Nothing is routed in store")
    address = (await said.wait("Gateway")).split()[1]
    assert await ask(address) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert await ask(address, MODEL_SERVICE) == health_pb2.HealthCheckResponse.SERVING
    signals.receive()
    assert await asyncio.wait_for(serving, 20), "the worker did not end with 0"
    assert said.lines[-1].startswith("Stopping: new calls are refused")


async def test_people_are_told_where_everything_is() -> None:
    signals, said = StopSignals(), Said()
    signals.receive()
    await serve(settings(otlp_endpoint="127.0.0.1:4317", traces_file="t.jsonl"), said, signals)
    introduced = [line.split(maxsplit=1) for line in said.lines[:5]]
    (gateway, address), *others = introduced
    assert gateway == "Gateway"
    assert int(address.removeprefix("127.0.0.1:")) > 0
    assert others == [
        ["Releases", str(Path("store").resolve())],
        ["Triton", NO_TRITON],
        ["Traces", "t.jsonl, 127.0.0.1:4317"],
        ["Metrics", "off"],
    ]


@pytest.mark.usefixtures("store")
async def test_a_release_whose_triton_is_away_does_not_keep_the_gateway_from_serving() -> None:
    signals, said = StopSignals(), Said()
    serving = asyncio.create_task(serve(settings(), said, signals))
    await said.wait("Gateway")
    await said.wait("Traces    off")
    async with asyncio.timeout(20):
        while not any(f"waiting for Triton at {NO_TRITON}" in line for line in said.lines):
            await asyncio.sleep(0)
    assert said.find("Nothing is routed") is None
    signals.receive()
    await asyncio.wait_for(serving, 20)


async def test_the_embedded_triton_cannot_read_a_bucket() -> None:
    bucket = settings(triton=(), embedded=True, store="memory://bucket", traces_file="")
    with pytest.raises(StartFailed, match="reads a folder, not memory://bucket"):
        await asyncio.wait_for(serve(bucket, Said(), StopSignals()), 20)


def test_an_address_in_use_is_a_failed_start_and_nothing_is_said() -> None:
    said = Said()
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(StartFailed, match=f"cannot listen at {listen}: Address already in use"):
            run(settings(listen=listen), said)
    assert said.lines == []


def test_a_damaged_route_file_is_a_failed_start(store: ReleaseStore, tmp_path: Path) -> None:
    (tmp_path / "store" / "routes" / "000002.yaml").write_text("lines: [")
    with pytest.raises(StartFailed, match=r"000002\.yaml cannot be read"):
        run(settings(), Said())


def test_sigterm_stops_it_with_zero() -> None:
    said = stop_when("Nothing is routed")
    assert run(settings(), said) == 0
    assert said.lines[-1] == "Stopped; everything in flight was answered."


async def test_workers_share_the_port_and_one_that_is_killed_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    signals, said = StopSignals(), Said()
    serving = asyncio.create_task(serve(settings(workers=2), said, signals))
    address = (await said.wait("Gateway")).split()[1]
    await said.wait("Nothing is routed")
    async with asyncio.timeout(20):
        while len(listeners(address)) < 2:
            await asyncio.sleep(0.01)
    before = listeners(address)
    os.kill(min(before), signal.SIGKILL)
    async with asyncio.timeout(20):
        while not any("takes calls again" in line for line in said.lines):
            # One that still accepts for the dead one may be met once.
            with contextlib.suppress(grpc.aio.AioRpcError):
                await ask(address)
    after = listeners(address)
    assert len(before & after) == 1
    assert len(after) == 2
    assert "was ended by SIGKILL" in caplog.text
    signals.receive()
    assert await asyncio.wait_for(serving, 20)


async def test_a_worker_that_dies_at_once_is_a_failed_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "gateway.serving.worker_command", lambda settings: ["/bin/sh", "-c", "exit 9"]
    )
    with pytest.raises(StartFailed, match="worker 0 ended with exit code 9 before it took calls"):
        await asyncio.wait_for(serve(settings(), Said(), StopSignals()), 20)


def test_a_worker_that_does_not_end_as_asked_is_told_and_the_exit_code_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = "trap 'exit 5' TERM; kill -TERM $PPID; while :; do sleep 0.01; done"
    monkeypatch.setattr(
        "gateway.serving.worker_command", lambda settings: ["/bin/sh", "-c", script]
    )
    said = Said()
    assert run(settings(), said) == 1
    assert said.lines[-1] == "Stopped; a worker did not end as it was asked to."


def test_serve_ends_with_zero_when_it_is_told_to_stop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway", "serve", "--triton", "127.0.0.1:1"]
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--store", tmp_path],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("Nothing is routed"):
                process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, "".join(said)
    assert said[-1] == "Stopped; everything in flight was answered.\n"
