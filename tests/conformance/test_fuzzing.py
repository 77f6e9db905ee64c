"""Connections that Hypothesis thinks up: honest clients notice nothing.

The million of them is in ``tests/chaos``; these are for every day.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import grpc
import pytest
from attackers import Attacker
from hostile_frames import connections
from hypothesis import HealthCheck, given, settings
from served_process import Client, ServedProcess


@pytest.fixture(scope="module")
def attacked(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    """A server of its own: grpc has much to say of what comes."""
    with closing(ServedProcess(transport, tmp_path_factory.mktemp(f"hurt-{transport}"))) as server:
        server.wait_listening()
        yield server


@pytest.fixture(scope="module")
def honest(attacked: ServedProcess) -> Iterator[Client]:
    with grpc.insecure_channel(
        attacked.target, options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        yield Client(channel)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(frames=connections)
def test_whatever_one_connection_brings_the_others_are_answered(
    attacked: ServedProcess, honest: Client, frames: list[bytes]
) -> None:
    attacker = Attacker(attacked.target)
    attacker.send(frames)
    assert attacker.frames
    assert honest.unary(value=7)["value"] == 7
    assert attacked.process.poll() is None
