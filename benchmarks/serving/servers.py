"""Starts the servers that are compared, tells when they answer, and ends them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import onnx
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.serving import processes
from benchmarks.serving.contenders import Server
from benchmarks.serving.exchanges import expected_responses
from benchmarks.serving.workloads import Workload
from triton_models.pruning import prune
from triton_models.server import EmbeddedTriton

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PEERS_FOLDER = Path(".bench")
"""Holds one virtual environment for each peer: what they need does not go together."""

_ADDRESS = re.compile(r"^Gateway\s+(127\.0\.0\.1:\d+)", re.MULTILINE)
_START_S = 120


class CannotRun(Exception):
    """A contender cannot run here; the message says why."""


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    address: str
    pid: int | None
    """Of its first process; None for one that is not ours to measure."""
    log: Path | None = None

    def log_tail(self) -> str:
        """Return the last that it printed."""
        return self.log.read_text(errors="replace")[-1500:] if self.log else ""


class Servers:
    """The servers of one run; ends all that it started when it is left."""

    def __init__(self, store: Path, triton: EmbeddedTriton) -> None:
        self._store = store
        self._triton = triton
        self._stack = ExitStack()
        self._pids: list[int] = []
        self._folder = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="serving-benchmark-"))
        )

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._pids:  # all at once; then each is waited for
            processes.ask_to_end(pid)
        self._stack.close()

    def start(self, server: Server, workload: Workload) -> Running:
        """Start a server; it may not answer yet.

        Raises:
            CannotRun: If it cannot be started here.
        """
        if server.layout == "fused" and workload.fused_file is None:
            raise CannotRun(f"{workload.manifest.ensemble} has no fused variant")
        if server.kind == "triton":
            load(self._triton.target, workload.manifest.model_of(server.layout))
            return Running(self._triton.target, self._triton.pid)
        if server.kind == "gateway":
            return self._start_gateway(server)
        if server.kind == "echo":
            return self._start_echo(server, workload)
        return self._start_peer(server.peer, workload)

    def _start_gateway(self, server: Server) -> Running:
        command: list[Any] = [
            BIN / "gateway", "serve",
            *(["--embedded"] if server.embedded else ["--triton", self._triton.target]),
            "--store", self._store, "--listen", "127.0.0.1:0", "--variant", server.layout,
        ]  # fmt: skip
        for option, value, default in (
            ("--transport", server.transport, "grpc"),
            ("--workers", str(server.workers), "1"),
        ):
            if option in gateway_help() and (option != "--transport" or value in gateway_help()):
                command += [option, value]
            elif value != default:
                raise CannotRun(f"`gateway serve` does not know {option} {value}")
        in_file = server.sampling and not server.collector_away
        environment = {
            "TRIDENT_TRACES_FILE": str(self._folder / "spans.jsonl") if in_file else "",
            # Port 9 throws away what comes, and mostly nobody listens there.
            "TRIDENT_OTLP_ENDPOINT": "http://127.0.0.1:9" if server.collector_away else "",
            "TRIDENT_TRACE_SAMPLE_RATIO": str(server.sampling),
            "TRIDENT_METRICS_LISTEN": "127.0.0.1:0" if server.metered else "",
        }
        return self._wait_address(self._spawn(command, environment))

    def _start_echo(self, server: Server, workload: Workload) -> Running:
        if server.transport == "envoy" and find_spec("pyvoy") is None:
            raise CannotRun("pyvoy is not installed")
        name = {"grpc": "on_grpc_aio", "envoy": "on_envoy"}[server.transport]
        script = HERE / "echo" / f"{name}.py"
        task = workload.task
        request_type = getattr(task.messages, f"{task.rpc}Request").DESCRIPTOR.full_name
        response_type = getattr(task.messages, f"{task.rpc}Response").DESCRIPTOR.full_name
        response = self._folder / f"{task.name}.response"
        response.write_bytes(expected_responses(workload, "fused")[0].SerializeToString())
        command = [
            sys.executable, script, f"/{task.service}/{task.rpc}", request_type, response_type,
            response,
        ]  # fmt: skip
        return self._wait_address(self._spawn(command))

    def _start_peer(self, name: str, workload: Workload) -> Running:
        python = PEERS_FOLDER.resolve() / name / "bin" / "python"
        if not python.exists():
            raise CannotRun(f"not installed; see `python -m benchmarks.serving install {name}`")
        port = free_port()
        command = [
            python, HERE / "peers" / name.replace("-", "_") / "serve.py",
            self._cut_model(workload), str(port), ",".join(workload.outputs),
        ]  # fmt: skip
        running = self._spawn(command, {"PATH": f"{python.parent}:{os.environ['PATH']}"})
        return Running(f"127.0.0.1:{port}", running.pid, running.log)

    def _cut_model(self, workload: Workload) -> Path:
        """Return the fused model without what only leads to outputs that nobody asks for.

        The embedded backend cuts it so by itself; peers shall have no more to compute.
        """
        path = self._folder / f"{workload.task.name}.onnx"
        if not path.exists():
            model = onnx.load(workload.fused_file)
            wanted = [one for one in model.graph.output if one.name in workload.outputs]
            del model.graph.output[:]
            model.graph.output.extend(wanted)
            prune(model.graph)
            onnx.save(model, path)
        return path

    def _spawn(
        self, command: Sequence[Any], environment: Mapping[str, str] | None = None
    ) -> Running:
        log = self._folder / f"{len(list(self._folder.iterdir()))}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
                # Ctrl-C is for us; we end what we started.
                start_new_session=True,
            )  # fmt: skip
        self._pids.append(process.pid)
        self._stack.callback(process.wait)
        self._stack.callback(processes.end, process.pid)
        return Running("", process.pid, log)

    def _wait_address(self, running: Running) -> Running:
        """Return it with the address that it printed."""
        assert running.pid is not None
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if found := running.log and _ADDRESS.search(running.log.read_text(errors="replace")):
                return Running(found[1], running.pid, running.log)
            if not processes.alive(running.pid):
                break
            time.sleep(0.05)
        raise CannotRun(f"did not start: {running.log_tail()}")


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def load(target: str, model: str) -> None:
    """Have Triton load a model."""
    with grpc.insecure_channel(target) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        if not stub.ModelReady(service_pb2.ModelReadyRequest(name=model)).ready:
            stub.RepositoryModelLoad(
                service_pb2.RepositoryModelLoadRequest(model_name=model), timeout=_START_S
            )


@cache
def gateway_help() -> str:
    """Return what ``gateway serve --help`` says."""
    done = subprocess.run(
        [BIN / "gateway", "serve", "--help"], capture_output=True, text=True, check=True
    )
    return done.stdout
