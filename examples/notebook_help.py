"""What the notebooks share: data that can be had, and a gateway in front of their store."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import grpc
import pyarrow.parquet as pq
from grpc_health.v1 import health_pb2, health_pb2_grpc

from model_builder.build import Built
from model_builder.datasets import resolve
from model_builder.errors import DataSetUnavailable
from model_builder.task import ResolvedData

warnings.filterwarnings("ignore", message="IProgress not found")  # no bar is shown here

QUICK = os.environ.get("TRIDENT_NOTEBOOK_QUICK") == "1"
"""Whether to run with small settings, as a test does: everything works, and nothing is learnt."""

READY_TIMEOUT_S = 90


def new_store() -> Path:
    """Return a folder for releases, outside the notebook's."""
    return Path(tempfile.mkdtemp(prefix="trident-notebook-")) / "store"


def data_set(name: str, stand_in: str) -> ResolvedData:
    """Return a public data set, or a generated one where it cannot be had, and say so."""
    try:
        return resolve(name)
    except DataSetUnavailable as error:
        print(f"{error}\nMADE-UP data ({stand_in}) takes its place: its answers mean nothing.")
        return resolve(stand_in)


def test_answers(built: Built) -> dict[str, list]:
    """Return the test rows of a release as requests carry them, and what torch answered."""
    return pq.read_table(Path(built.report_path) / "answers.parquet").to_pydict()


class Served:
    """A gateway with an embedded Triton, in front of a store, as long as the notebook wants."""

    def __init__(self, store: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.target = f"127.0.0.1:{probe.getsockname()[1]}"
        program = Path(sys.executable).parent / "gateway"
        self._log = store.parent / "gateway.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [program, "serve", "--embedded", "--store", store, "--listen", self.target],
                stderr=log,
                env=os.environ | {"TRIDENT_TRACES_FILE": str(store.parent / "traces.jsonl")},
            )
        atexit.register(self.stop)  # also when a cell fails
        self.channel = grpc.insecure_channel(self.target)
        self._wait()

    def stop(self) -> None:
        """End the gateway, and Triton with it."""
        self.channel.close()
        self._process.terminate()
        self._process.wait(timeout=30)

    def _wait(self) -> None:
        health = health_pb2_grpc.HealthStub(self.channel)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                pass
            time.sleep(0.1)
        self._process.terminate()
        raise RuntimeError(f"the gateway does not serve:\n{self._log.read_text()}")
