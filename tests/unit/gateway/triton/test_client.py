"""What a client makes of what Triton says, and of its silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.triton import client as client_module
from gateway.triton.client import TritonClient


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Says of models what a test wants."""

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name == "busy":
            await asyncio.Event().wait()
        if request.name == "unknown":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no such model")
        return service_pb2.ModelReadyResponse(ready=request.name == "there")


@pytest.fixture
async def client() -> AsyncIterator[TritonClient]:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = TritonClient(f"127.0.0.1:{port}")
    yield client
    await client.close()
    await server.stop(None)


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
