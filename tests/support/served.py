"""The command lines as tests run them: builds, a gateway process, what they leave behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pyarrow.parquet as pq
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from triton_models.release import Manifest
from triton_models.store import ReleaseStore

BIN = Path(sys.executable).parent
READY_S = 60

TASKS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # A recommender good enough to be told from a wrong one needs no full training.
    "recommend": ("recsys", "movielens-latest-small", ("--set", "epochs=2")),
    "diagnose-measurements": ("diagnosis", "breast-cancer", ()),
    "score-risk": ("risk", "german-credit", ()),
}
STAND_INS = {
    "movielens-latest-small": "generated-interactions",
    "german-credit": "generated-credit",
}


def run(
    *command: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program of ours to its end."""
    program, *arguments = (str(word) for word in command)
    return subprocess.run(
        [BIN / program, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=dict(environment) if environment is not None else None,
    )


def free_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def restarts(log: Iterable[str]) -> list[str]:
    """The lines that say that a worker ended and is started again."""
    return [line for line in log if re.search(r"Worker \d+ .*; restart \d+ in ", line)]


@dataclass
class Gateway:
    """A `gateway serve` of our own, as a process."""

    store: Path
    folder: Path
    target: str = ""
    process: subprocess.Popen[str] | None = None
    log: list[str] = field(default_factory=list)

    @property
    def traces(self) -> Path:
        return self.folder / "traces.jsonl"

    def start(self, *how: str, listen: str = "") -> None:
        """Start it on the embedded Triton, or as the options ``how`` say; by default anywhere."""
        self.target = listen or f"127.0.0.1:{free_port()}"
        triton = how or ("--embedded",)
        self.process = subprocess.Popen(
            [BIN / "gateway", "serve", *triton, "--store", self.store, "--listen", self.target],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=os.environ | {"TRIDENT_TRACES_FILE": str(self.traces)},
            cwd=self.folder,
        )
        threading.Thread(target=self._read_log, daemon=True).start()
        self.wait_serving()

    def _read_log(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self.log.extend(lines)

    @property
    def restarts(self) -> list[str]:
        """What was said of workers that ended and were started again."""
        return restarts(self.log)

    def health(self, service: str = "") -> int:
        with grpc.insecure_channel(self.target) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=service)
            return int(stub.Check(request, timeout=5).status)

    def wait_serving(self) -> None:
        assert self.process is not None
        serving = health_pb2.HealthCheckResponse.SERVING
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "".join(self.log)
            try:
                if self.health() == serving:
                    return
            except grpc.RpcError:
                pass
            time.sleep(0.1)
        pytest.fail(f"not serving after {READY_S} s:\n" + "".join(self.log))

    def wait_line(self, part: str) -> None:
        """Wait until a line with this part was said."""
        deadline = time.monotonic() + READY_S
        while not any(part in line for line in self.log):
            assert time.monotonic() < deadline, "".join(self.log)
            time.sleep(0.02)

    def triton_pid(self) -> int:
        """The embedded tritonserver: the child of the gateway that is called so."""
        assert self.process is not None
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = status.read_text()
            except OSError:
                continue
            match = re.match(r"(\d+) \((.*)\) \S (\d+)", text)
            if match and match[2].startswith("tritonserver") and int(match[3]) == self.process.pid:
                return int(match[1])
        pytest.fail("the gateway has no tritonserver")

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextmanager
def serving(store: ReleaseStore, folder: Path, *how: str) -> Iterator[Gateway]:
    """A gateway of a store, started as the options ``how`` say, while the context lasts."""
    gateway = Gateway(Path(store.models_path).parent, folder)
    gateway.start(*how)
    try:
        yield gateway
    finally:
        gateway.stop()


@dataclass(frozen=True)
class Built:
    """What `model-builder build` made."""

    summaries: Mapping[str, Mapping[str, Any]]
    """By line: the object that `--json` printed."""
    store: ReleaseStore
    path: Path

    def manifest(self, line: str) -> Manifest:
        return self.store.manifest(line, self.summaries[line]["release"])

    def test_rows(self, line: str) -> list[dict[str, Any]]:
        report = self.store.report_path(line, self.summaries[line]["release"])
        return pq.read_table(Path(report) / "answers.parquet").to_pylist()


def build_all(path: Path) -> Built:
    """Build the three releases, on real data where TRIDENT_DATA_DIR has it."""
    summaries = {}
    for line, (task, real, options) in TASKS.items():
        mirrored = Path(os.environ.get("TRIDENT_DATA_DIR", "/nowhere"), real).exists()
        data = real if mirrored or real not in STAND_INS else STAND_INS[real]
        done = run("model-builder", "build", task, "--data", data, "--store", path, "--json",
                   *options)  # fmt: skip
        assert done.returncode == 0, done.stderr
        summaries[line] = json.loads(done.stdout)
    return Built(summaries, ReleaseStore(path), path)
