"""A conformance server as a process of its own, and a client of it."""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
from conformance_service import KINDS, NAME
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

HERE = Path(__file__).parent
START_S = 30
# Nothing is left of a run of tests that is killed.
_FOLLOW_PARENT = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""
CALL_S = 20


class ServedProcess:
    """A server on a transport.

    Args:
        transport: ``grpc`` or ``envoy``.
        folder: For what it writes.
        port: Where it listens; by default a free one.
        name: What it calls itself in answers.
        settings: Of a gateway, as far as they are of its transport and of who may call.
        host: An address of this machine.
    """

    def __init__(
        self,
        transport: str,
        folder: Path,
        port: int = 0,
        name: str = "",
        settings: dict[str, Any] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind((host, port))
        self.port: int = self._held.getsockname()[1]
        self.target = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _FOLLOW_PARENT,
                    sys.executable,
                    HERE / "conformance_app.py",
                    transport,
                    self.target,
                    folder,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ
                | {
                    "PYTHONPATH": str(HERE),
                    "CONFORMANCE_NAME": name,
                    "CONFORMANCE_SETTINGS": json.dumps(settings or {}),
                },
            )

    def wait_listening(self) -> None:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], START_S)
        said = self.process.stdout.readline() if readable else b""
        assert said == b"listening\n", self.log.read_text()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it; return its exit code."""
        self.send(signal.SIGTERM)
        try:
            return self.process.wait(START_S)
        finally:
            self.close()

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        self._held.close()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Client:
    """Calls a conformance server with what grpcio offers, no more."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        makers = {
            (False, False): channel.unary_unary,
            (True, False): channel.stream_unary,
            (False, True): channel.unary_stream,
            (True, True): channel.stream_stream,
        }
        self.call: dict[str, Any] = {
            method: makers[kind](f"/{NAME}/{method}", Struct.SerializeToString, Struct.FromString)
            for method, kind in KINDS.items()
        }

    def unary(self, options: dict[str, Any] | None = None, **wish: Any) -> dict[str, Any]:
        """The answer of a unary call."""
        return seen(self.call["Unary"](struct(**wish), **{"timeout": CALL_S, **(options or {})}))

    def start(self, options: dict[str, Any] | None = None, **wish: Any) -> Any:
        """A unary call that goes on."""
        return self.call["Unary"].future(
            struct(**wish), **{"timeout": CALL_S, **(options or {})}
        )  # fmt: skip


def struct(**values: Any) -> Struct:
    message = Struct()
    message.update(values)
    return message


def structs(wishes: Iterable[dict[str, Any]]) -> Iterator[Struct]:
    return (struct(**wish) for wish in wishes)


def seen(response: Struct) -> dict[str, Any]:
    return dict(MessageToDict(response))


def binary(value: bytes) -> str:
    """As requests and answers write bytes."""
    return base64.b64encode(value).decode()
