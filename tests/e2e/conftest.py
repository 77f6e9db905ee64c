"""Builds the three models with the command line and serves them, once for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from served import Built, Gateway, build_all


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None) -> Built:
    """The three releases, on real data where TRIDENT_DATA_DIR has it."""
    return build_all(tmp_path_factory.mktemp("built") / "store")


@pytest.fixture(scope="session")
def gateway(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the three releases, all serving."""
    server = Gateway(built.path, tmp_path_factory.mktemp("gateway"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def channel(gateway: Gateway) -> Iterator[grpc.Channel]:
    """A channel to the gateway."""
    with grpc.insecure_channel(gateway.target) as channel:
        yield channel
