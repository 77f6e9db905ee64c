"""One server on each transport, for all tests; they must not disturb each other."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from served_process import Client, ServedProcess


@pytest.fixture(scope="session")
def server(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    """A server that takes calls. It must have nothing to complain about."""
    server = ServedProcess(transport, tmp_path_factory.mktemp(transport))
    try:
        server.wait_listening()
        yield server
    finally:
        exit_code = server.stop()
    assert exit_code == 0
    assert server.log.read_text() == ""


@pytest.fixture
def client(server: ServedProcess) -> Iterator[Client]:
    """A client with a connection of its own."""
    with grpc.insecure_channel(
        server.target, options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        yield Client(channel)
