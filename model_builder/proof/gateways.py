"""A gateway in front of one release, asked as a client asks: over gRPC, by what it describes.

The builder knows no message of the API; the gateway tells them by server reflection. So what is
compared is what a client of any language gets.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from model_builder.errors import ProofFailed
from triton_models.following import FollowingProcess

_START_S = 120.0
_CALL_S = 120.0
_MOST_BYTES = 64 * 1024 * 1024
_ADDRESS = re.compile(r"^Gateway\s+(\S+:\d+)", re.MULTILINE)


class Client:
    """Calls what a server describes."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))

    def call(self, service: str, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request, both as JSON has them, by the names of the protos.

        Raises:
            ProofFailed: If the call fails.
        """
        found = self._pool.FindServiceByName(service).methods_by_name[method]
        message = json_format.ParseDict(dict(request), GetMessageClass(found.input_type)())
        call = self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=GetMessageClass(found.output_type).FromString,
        )
        try:
            answer = call(message, timeout=_CALL_S)
        except grpc.RpcError as error:
            raise ProofFailed(f"the gateway answers {method} with {_words(error)}") from error
        return dict(
            json_format.MessageToDict(
                answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
        )


@contextmanager
def gateway_in_front_of(triton: str, store: Path) -> Iterator[Client]:
    """Give a client of a gateway of its own, while the context lasts.

    Args:
        triton: Where Triton listens.
        store: What is served: all that is routed there.

    Raises:
        ProofFailed: If it does not come to serve; with what it said.
    """
    with tempfile.TemporaryDirectory(prefix="trident-proof-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = FollowingProcess(
                [
                    sys.executable,
                    *("-m", "gateway", "serve", "--transport", "grpc"),
                    *("--triton", triton, "--store", str(store), "--listen", "127.0.0.1:0"),
                ],
                _environment(),
                output,
            )
        try:
            with _channel(process, log) as channel:
                yield Client(channel)
        finally:
            process.terminate()
            process.wait()


def _environment() -> dict[str, str]:
    """Return ours without its settings: the proof must not depend on them."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("TRIDENT_")}
    return kept | {"TRIDENT_TRACES_FILE": "", "PYTHONUNBUFFERED": "1"}


@contextmanager
def _channel(process: FollowingProcess, log: Path) -> Iterator[grpc.Channel]:
    deadline = time.monotonic() + _START_S
    options = [("grpc.max_receive_message_length", _MOST_BYTES)]
    while (match := _ADDRESS.search(_said(log))) is None:
        _wait(process, log, deadline)
    with grpc.insecure_channel(match[1], options=options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while not _serves(stub):
            _wait(process, log, deadline)
        yield channel


def _serves(stub: health_pb2_grpc.HealthStub) -> bool:
    try:
        status = stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status
    except grpc.RpcError:
        return False
    return bool(status == health_pb2.HealthCheckResponse.SERVING)


def _wait(process: FollowingProcess, log: Path, deadline: float) -> None:
    refused = [line for line in _said(log).splitlines() if "not serving: " in line]
    final = [line for line in refused if "waiting for" not in line and "being loaded" not in line]
    if final or time.monotonic() > deadline or _ended(process):
        said = final[-1:] or _said(log).splitlines()[-5:]
        raise ProofFailed(f"the gateway does not serve it: {' '.join(' '.join(said).split())}")
    time.sleep(0.05)


def _ended(process: FollowingProcess) -> bool:
    status = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    return status is not None


def _said(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _words(error: grpc.RpcError) -> str:
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    return f"{code().name if code else error}: {details() if details else ''}"
