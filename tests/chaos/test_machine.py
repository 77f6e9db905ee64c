"""The machine fails: a disk that is full, no file left to open, a clock that jumps."""

from __future__ import annotations

import resource
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

import grpc
import psutil
import pyarrow.parquet as pq
import pytest
from served import Gateway, free_port, serving
from steady_load import METHOD, SteadyLoad, asking, codes
from three_tritons import Tritons
from waiting import wait_for

from triton_models.store import ReleaseStore

pytestmark = pytest.mark.chaos

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
"""Gives processes another clock of the wall, and leaves the one that runs evenly."""


@pytest.fixture
def how(tritons: Tritons, transport: str) -> list[str]:
    """What gateways are started with."""
    return ["--transport", transport, "--triton", tritons.bare.target]


def counted(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


LOST = ("trident_spans_dropped_total", "trident_access_log_dropped_total")


def test_a_disk_that_is_full_costs_spans_and_lines_of_logs_and_they_are_counted(
    transport: str,
    store: ReleaseStore,
    how: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = free_port()
    full = tmp_path / "full.jsonl"
    full.symlink_to("/dev/full")
    monkeypatch.setattr(Gateway, "traces", property(lambda _: full))
    monkeypatch.setenv("TRIDENT_ACCESS_LOG", str(full))
    how += ["--metrics-listen", f"127.0.0.1:{port}"]
    with serving(store, tmp_path, *how) as gateway:
        with SteadyLoad(gateway.target, rate=50) as load:
            wait_for(lambda: all(counted(port, name) > 0 for name in LOST))
        spans, lines = (counted(port, name) for name in LOST)
    with capsys.disabled():
        print(
            f"\n{transport}, full disk: {codes(load.noted)}; lost and counted: {spans:.0f} spans, "
            f"{lines:.0f} lines of the access log"
        )
    assert codes(load.noted).keys() == {"OK"}


DROPPED_ROWS = "trident_payload_log_dropped_total"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "trident-chaos", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that there is; return what takes it."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(4096 * b"x")
    return filler


def rows_in(folder: Path) -> int:
    """Rows of the payload log that lie there."""
    return sum(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))


def test_a_disk_that_is_full_costs_payloads_and_each_is_kept_or_counted(
    transport: str,
    store: ReleaseStore,
    how: list[str],
    small_disk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    port, folder = free_port(), small_disk / "payloads"
    monkeypatch.setenv("TRIDENT_PAYLOAD_LOG", str(folder))
    monkeypatch.setenv("TRIDENT_PAYLOAD_LOG_RATIO", "1")
    monkeypatch.setenv("TRIDENT_PAYLOAD_LOG_FILE_ROWS", "20")
    how += ["--metrics-listen", f"127.0.0.1:{port}"]
    with serving(store, tmp_path, *how) as gateway:
        with SteadyLoad(gateway.target, rate=50) as load:
            wait_for(lambda: rows_in(folder) > 0)
            filler = fill(small_disk)
            before = counted(port, DROPPED_ROWS)
            wait_for(lambda: counted(port, DROPPED_ROWS) >= before + 100)
            filler.unlink()
            kept = rows_in(folder)
            wait_for(lambda: rows_in(folder) > kept)
        dropped = counted(port, DROPPED_ROWS)
    kept = rows_in(folder)
    with capsys.disabled():
        print(
            f"\n{transport}, full disk under the payload log: {codes(load.noted)}; of "
            f"{len(load.noted)} payloads {kept} kept, {dropped:.0f} lost and counted"
        )
    assert codes(load.noted).keys() == {"OK"}
    assert kept + dropped == len(load.noted)
    assert [path.name for path in folder.rglob("*") if path.suffix == ".writing"] == []


def test_without_a_file_left_to_open_those_who_are_there_are_served_and_others_later(
    transport: str,
    store: ReleaseStore,
    how: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(store, tmp_path, *how) as gateway:
        assert gateway.process is not None
        (worker,) = psutil.Process(gateway.process.pid).children()
        with SteadyLoad(gateway.target, rate=50) as load:
            time.sleep(1)
            _, hard = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
            limit = max(int(name.name) for name in Path(f"/proc/{worker.pid}/fd").iterdir()) + 5
            resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (limit, hard))
            host, _, port = gateway.target.rpartition(":")
            held = []
            for _ in range(50):
                with suppress(OSError):
                    held.append(socket.create_connection((host, int(port)), timeout=1))
            time.sleep(3)
            for one in held:
                one.close()
            resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (hard, hard))
        wait_for(lambda: answers(gateway.target))
    with capsys.disabled():
        print(f"\n{transport}, no file left: {codes(load.noted)} of those who were there before")
    assert codes(load.noted).keys() == {"OK"}


def lives(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
            return int(answer.status) == HTTPStatus.OK
    except urllib.error.HTTPError as error:
        return b"hangs" not in error.read()


def test_a_gateway_whose_worker_hangs_lives_no_more_until_it_goes_on(
    transport: str,
    store: ReleaseStore,
    how: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = free_port()
    with serving(store, tmp_path, *how, "--metrics-listen", f"127.0.0.1:{port}") as gateway:
        assert gateway.process is not None
        (worker,) = psutil.Process(gateway.process.pid).children()
        assert lives(port)
        worker.suspend()
        suspended = time.monotonic()
        wait_for(lambda: not lives(port))
        known = time.monotonic()
        worker.resume()
        wait_for(lambda: lives(port))
        back = time.monotonic()
        assert answers(gateway.target)
    with capsys.disabled():
        print(
            f"\n{transport}, a worker hangs: /livez says so after {known - suspended:.1f} s, and "
            f"that it lives {back - known:.1f} s after it goes on"
        )


def answers(target: str) -> bool:
    options = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.insecure_channel(target, options=options) as channel:
        try:
            channel.unary_unary(METHOD)(asking(0), timeout=2)
        except grpc.RpcError:
            return False
        return True


def test_a_clock_that_jumps_an_hour_back_or_forth_fails_no_call(
    transport: str,
    store: ReleaseStore,
    how: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not FAKETIME.exists():
        pytest.skip("libfaketime is not installed (Debian: libfaketime)")
    jump = tmp_path / "jump"
    jump.write_text("+0")
    for name, value in (
        ("LD_PRELOAD", str(FAKETIME)),
        ("FAKETIME_TIMESTAMP_FILE", str(jump)),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ):
        monkeypatch.setenv(name, value)
    with serving(store, tmp_path, *how) as gateway:
        for name in ("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE"):
            monkeypatch.delenv(name)
        with SteadyLoad(gateway.target, rate=50, timeout_s=2) as load:
            for seconds in ("+0", "+3600", "-3600", "+0"):
                jump.write_text(seconds)
                time.sleep(2)
    with capsys.disabled():
        print(f"\n{transport}, the clock jumps by an hour and back: {codes(load.noted)}")
    assert codes(load.noted).keys() == {"OK"}
    assert all(one.right for one in load.noted)
