from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings import Settings
from gateway.starting import StartFailed
from gateway.supervising.notices import Notice, hearing
from gateway.worker import Worker


@pytest.fixture
def worker(tmp_path: Path, clean_environment: None) -> Worker:
    """Number 3 of a gateway with an empty store."""
    settings = Settings(store=str(tmp_path / "store"), triton=("127.0.0.1:1",))
    (tmp_path / "folder").mkdir()
    return Worker(settings, 3, "gateway-3", tmp_path / "folder")


def test_what_it_is_travels_in_the_environment(worker: Worker) -> None:
    assert Worker.from_environment({"PATH": "/bin"} | worker.environment()) == worker


def test_without_a_supervisor_there_is_no_worker() -> None:
    with pytest.raises(KeyError, match="TRIDENT_WORKER_"):
        Worker.from_environment({})


async def test_its_supervisor_hears_that_it_is_ready(worker: Worker) -> None:
    notices: asyncio.Queue[Notice] = asyncio.Queue()
    async with hearing(worker.folder, notices.put_nowait), worker.core() as core:
        assert core.runner.routes() == []
        worker.say_ready()
        assert await asyncio.wait_for(notices.get(), 20) == Notice(3, ready=True)


@pytest.mark.parametrize("whose", ["core", "transport"])
async def test_its_supervisor_hears_why_it_cannot_start(whose: str, worker: Worker) -> None:
    if whose == "core":
        broken = worker.settings.model_copy(update={"otlp_endpoint": "gopher://x"})
        worker = Worker(broken, 3, "gateway-3", worker.folder)
    notices: asyncio.Queue[Notice] = asyncio.Queue()
    async with hearing(worker.folder, notices.put_nowait):
        with pytest.raises(StartFailed):
            async with worker.core():
                raise StartFailed("no port")
        notice = await asyncio.wait_for(notices.get(), 20)
    expected = "no port" if whose == "transport" else "'gopher://x' is no collector's address"
    assert notice.failure.startswith(expected)
    assert not notice.ready


def test_a_worker_without_metrics_has_only_what_names_them(worker: Worker) -> None:
    program = """
import asyncio, os, sys
import gateway.grpc_worker
from gateway.served import services_of
from gateway.worker import Worker

async def work():
    worker = Worker.from_environment(os.environ)
    async with worker.core() as core:
        services_of(core, worker.settings)

asyncio.run(work())
print(*(name for name in sorted(sys.modules) if name.startswith("gateway.telemetry.metrics.")))
"""
    # Where a collector is named, metrics are wanted.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean | worker.environment(),
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    loaded = [name.rpartition(".")[2] for name in done.stdout.split()]
    assert loaded == ["grid", "instruments", "readings", "tally", "wanted"]
