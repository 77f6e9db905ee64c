"""Containers of rendered pods as processes of this machine: only places and addresses differ."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from triton_models.embedded.command import Launch, Ports
from triton_models.embedded.installation import find_installation, lay_out_backends

BIN = Path(sys.executable).parent
STORE = "/trident/store"
START_S = 60
POLL_S = 0.05

Object = Mapping[str, Any]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass
class Container:
    """A process that a container's command, arguments and environment say.

    Attributes:
        spec: The container as rendered.
        folder: What it may write to, and where it starts.
        places: What stands for each place and address of the cluster.
        program: What stands for the image's program; by default that of this environment.
    """

    spec: Object
    folder: Path
    places: Mapping[str, str]
    program: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def here(self, text: str) -> str:
        """Return a text with what stands here for places and addresses, each replaced once."""
        if not self.places:
            return text
        pattern = "|".join(map(re.escape, self.places))
        return re.sub(pattern, lambda found: self.places[found[0]], text)

    def command(self, *more: str) -> list[str]:
        command, *rest = self.spec["command"]
        program = list(self.program) or [str(BIN / command)]
        return [*program, *map(self.here, [*rest, *self.spec.get("args", ())]), *more]

    def start(self, *more: str) -> None:
        """Begin, with nothing but the environment of the container and what it runs on here."""
        for name in ("home", "tmp", "cwd"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        given = {one["name"]: self.here(one["value"]) for one in self.spec.get("env", ())}
        basics = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            # Where nothing is mounted there, it can no more be written to than the rest.
            "TMPDIR": str(self.folder / "tmp") if self._has_tmp() else "/nonexistent",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(*more),
                env=basics | self.environment | given,
                cwd=self.folder / "cwd",
                stdout=log,
                stderr=log,
            )

    def _has_tmp(self) -> bool:
        return any(one["mountPath"] == "/tmp" for one in self.spec.get("volumeMounts", ()))

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def run(self) -> str:
        """Let it run to its end, which must be a good one; return what it said."""
        self.start()
        assert self.process is not None
        try:
            code = self.process.wait(START_S)
        finally:
            self.kill()
        said = self.log.read_text()
        assert code == 0, said
        return said

    def wait(self, probe: Object) -> None:
        """Wait until a probe succeeds."""
        assert self.process is not None
        end = time.monotonic() + START_S
        while not self.probe(probe):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(POLL_S)

    def probe(self, probe: Object) -> bool:
        """Ask as the kubelet does."""
        if "grpc" in probe:
            target = "127.0.0.1:" + self.here(f":{probe['grpc']['port']}").strip(":")
            return grpc_probe(target, probe["grpc"].get("service", ""))
        names = {one["name"]: one["containerPort"] for one in self.spec["ports"]}
        port = self.here(f"port={names[probe['httpGet']['port']]}").partition("=")[2]
        return http_probe(int(port), probe["httpGet"]["path"])

    def end(self, timeout_s: float) -> int:
        """SIGTERM, and the exit code; it raises where the time is not enough."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def written(self) -> list[str]:
        """What it has left where a read-only root file system would not have let it."""
        kept = [one for name in ("home", "cwd") for one in (self.folder / name).rglob("*")]
        return [str(one.relative_to(self.folder)) for one in kept]


def grpc_probe(target: str, service: str) -> bool:
    with grpc.insecure_channel(target) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status
        except grpc.RpcError:
            return False
    return bool(status == health_pb2.HealthCheckResponse.SERVING)


def http_probe(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def triton_container(spec: Object, store: Path, folder: Path) -> Container:
    """Triton's container on the Triton of the wheel: its backends lie elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    installation = find_installation()
    backends = folder / "backends"
    backends.mkdir()
    lay_out_backends(installation, backends)
    http_port, grpc_port, metrics = free_ports(3)
    launch = Launch(
        installation, backends, store / "models", Ports(grpc_port, http_port, metrics), ""
    )
    places = {
        STORE: str(store),
        "port=8000": f"port={http_port}",
        "port=8001": f"port={grpc_port}",
        "port=8002": f"port={metrics}",
    }
    environment = launch.environment(os.environ)
    return Container(spec, folder, places, [str(installation.server)], environment)


def extra_triton_arguments(container: Container) -> list[str]:
    """What the wheel's Triton needs that the image's does not."""
    return [
        f"--backend-directory={container.folder / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name=chart_{os.getpid()}_",
    ]
