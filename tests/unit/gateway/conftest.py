"""A server of our own on a free port, with a runner that needs no Triton."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from fake_runner import FakeRunner, RecordingTracing

from gateway.transport.grpc_aio import GrpcServer, build_server


@pytest.fixture
def runner() -> FakeRunner:
    """Serves a release of each line."""
    return FakeRunner()


@pytest.fixture
def tracing() -> RecordingTracing:
    """Remembers every call."""
    return RecordingTracing()


@pytest.fixture
async def server(runner: FakeRunner, tracing: RecordingTracing) -> AsyncIterator[GrpcServer]:
    """A server that takes calls."""
    server = build_server(
        runner=runner,
        tracing=tracing,
        listen="127.0.0.1:0",
        max_outstanding=8,
        health_poll_s=0.01,
    )
    await server.start()
    yield server
    await server.stop(0)


@pytest.fixture
async def channel(server: GrpcServer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to it."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel
