from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from manifests import manifest

from gateway.serving import StartFailed, StopSignals, _first, run, serve
from gateway.settings import Settings
from gateway.transport.health import MODEL_SERVICE
from triton_models.release import Routes, RouteTarget
from triton_models.store import ReleaseStore

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


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting comes from the developer's shell, and nothing is written beside the sources."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TRIDENT_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def settings(**options: Any) -> Settings:
    return Settings(**{"listen": "127.0.0.1:0", "store": "store", "triton": (NO_TRITON,)} | options)


def stop_when(start: str) -> Said:
    """Who sends SIGTERM to this process on hearing a line that starts so."""

    def hear(line: str) -> None:
        if line.startswith(start):
            os.kill(os.getpid(), signal.SIGTERM)

    return Said(hear)


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    """A store with ``score-risk/r1``, routed."""
    store = ReleaseStore(tmp_path / "store")
    (tmp_path / "empty").mkdir()
    store.publish(manifest("score-risk"), tmp_path / "empty", {})
    store.add_routes(Routes(lines={"score-risk": (RouteTarget(release="r1"),)}), after=0)
    return store


async def test_the_first_signal_asks_and_the_second_forces() -> None:
    signals = StopSignals()
    assert not signals.asked.is_set()
    signals.receive()
    assert signals.asked.is_set()
    assert not signals.forced.is_set()
    signals.receive()
    signals.receive()
    assert signals.forced.is_set()


async def test_the_first_that_is_done_decides_and_the_others_are_cancelled() -> None:
    done = asyncio.Event()
    cancelled = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    done.set()
    await asyncio.wait_for(_first(slow(), done.wait()), 20)
    assert cancelled.is_set()


async def test_the_first_that_fails_is_raised() -> None:
    async def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await _first(fail(), asyncio.Event().wait())


async def test_an_empty_store_is_served_says_so_and_stops_when_it_is_asked() -> None:
    signals, said = StopSignals(), Said()
    serving = asyncio.create_task(serve(settings(), said, signals))
    assert "model-builder build" in await said.wait("Nothing is routed in store")
    address = (await said.wait("Gateway")).split()[1]
    async with grpc.aio.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        whole = await check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=20)
        models = await check(health_pb2.HealthCheckRequest(service=MODEL_SERVICE), timeout=20)
    assert whole.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert models.status == health_pb2.HealthCheckResponse.SERVING
    signals.receive()
    await asyncio.wait_for(serving, 20)
    assert said.lines[-1].startswith("Stopping: new calls are refused")


async def test_people_are_told_where_everything_is() -> None:
    signals, said = StopSignals(), Said()
    signals.receive()
    await serve(settings(otlp_endpoint="127.0.0.1:4317", traces_file="t.jsonl"), said, signals)
    introduced = [line.split(maxsplit=1) for line in said.lines[:4]]
    (gateway, address), *others = introduced
    assert gateway == "Gateway"
    assert int(address.removeprefix("127.0.0.1:")) > 0
    assert others == [
        ["Releases", str(Path("store").resolve())],
        ["Triton", NO_TRITON],
        ["Traces", "t.jsonl, 127.0.0.1:4317"],
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


@pytest.mark.usefixtures("store")
async def test_a_variant_that_was_asked_for_and_is_not_there_is_refused() -> None:
    said = Said()
    with pytest.raises(StartFailed) as caught:
        await asyncio.wait_for(serve(settings(variant="fused"), said, StopSignals()), 20)
    assert str(caught.value) == "--variant fused: score-risk/r1 has only ensemble."
    assert asyncio.all_tasks() == {asyncio.current_task()}, "something is left running"


async def test_the_embedded_triton_cannot_read_a_bucket() -> None:
    bucket = settings(triton=(), embedded=True, store="memory://bucket", traces_file="")
    with pytest.raises(StartFailed, match="reads a folder, not memory://bucket"):
        await asyncio.wait_for(serve(bucket, Said(), StopSignals()), 20)


def test_an_address_in_use_is_a_failed_start_and_nothing_is_said() -> None:
    said = Said()
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(StartFailed, match=f"cannot listen at {listen}"):
            run(settings(listen=listen), said)
    assert said.lines == []


def test_a_damaged_route_file_is_a_failed_start(store: ReleaseStore, tmp_path: Path) -> None:
    (tmp_path / "store" / "routes" / "000002.yaml").write_text("lines: [")
    with pytest.raises(StartFailed, match=r"000002\.yaml cannot be read"):
        run(settings(), Said())


def test_a_collector_that_makes_no_sense_is_a_failed_start() -> None:
    with pytest.raises(StartFailed, match="'gopher://x' is no collector's address"):
        run(settings(otlp_endpoint="gopher://x"), Said())


def test_sigterm_stops_it_with_zero() -> None:
    said = stop_when("Nothing is routed")
    assert run(settings(), said) == 0
    assert said.lines[-1] == "Stopped; everything in flight was answered."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_it_stopped_signals_are_again_what_they_were(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    run(settings(), stop_when("Nothing is routed"))
    assert signal.getsignal(number) == before
