"""What a client makes of what Triton says, and of its silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.triton import client as client_module
from gateway.triton.cancelling import Cancelling
from gateway.triton.client import TritonClient


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Says of models, and of itself, what a test wants."""

    version: str | None = "2.51.0"
    target = ""

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerLiveResponse(live=True)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.version is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
        return service_pb2.ServerMetadataResponse(version=self.version)

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name == "busy":
            await asyncio.Event().wait()
        if request.name == "unknown":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no such model")
        return service_pb2.ModelReadyResponse(ready=request.name == "there")


@pytest.fixture
async def servicer() -> AsyncIterator[Servicer]:
    server, servicer = grpc.aio.server(), Servicer()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    servicer.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield servicer
    await server.stop(None)


@pytest.fixture
async def client(servicer: Servicer) -> AsyncIterator[TritonClient]:
    client = TritonClient(servicer.target)
    yield client
    await client.close()


@pytest.mark.parametrize(
    ("version", "cancelling", "cancels"),
    [
        ("2.51.0", "auto", False),
        ("2.60.0", "auto", True),
        (None, "auto", False),
        ("2.51.0", "always", True),
        ("2.60.0", "never", False),
    ],
)
async def test_a_triton_is_told_of_calls_that_are_left_if_it_bears_that(
    version: str | None, cancelling: Cancelling, cancels: bool, servicer: Servicer
) -> None:
    servicer.version = version
    client = TritonClient(servicer.target, cancelling=cancelling)
    assert client.cancels is (cancelling == "always")  # nothing has been heard of it
    assert await client.is_live()
    assert client.cancels is cancels
    await client.close()


async def test_its_version_is_asked_again_when_it_may_be_another_triton(
    servicer: Servicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = TritonClient(servicer.target)
    for version, connections, cancels in (
        ("2.60.0", 1, True), ("2.51.0", 1, True), ("2.51.0", 2, False), (None, 3, False),
        ("2.60.0", 3, True),
    ):  # fmt: skip
        servicer.version = version
        monkeypatch.setattr(client._inferences, "connections", connections)
        assert await client.is_live()
        assert client.cancels is cancels
    await client.close()


@pytest.mark.parametrize(
    ("model", "ready"), [("there", True), ("lost", False), ("unknown", False), ("busy", None)]
)
async def test_a_model_that_is_not_loaded_is_told_from_a_triton_that_does_not_say(
    model: str, ready: bool | None, client: TritonClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    if model == "busy":
        monkeypatch.setattr(client_module, "_PROBE_TIMEOUT_S", 0.1)
    assert await client.readiness(model) is ready
    assert await client.is_loaded(model) is bool(ready)
