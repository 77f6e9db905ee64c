"""``gateway serve`` as a process: on its own Triton and on another, and how it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import tiny_releases as tiny
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub
from trident.model.v1 import model_service_pb2 as model
from trident.model.v1.model_service_pb2_grpc import ModelServiceStub
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

SLOW = 600_000.0
"""Rounds that take a second or so."""


def request(work: float, size: float = 1.0) -> diagnose.DiagnoseRequest:
    measured = diagnose.DiagnoseRequest()
    measured.measurements.values.update({tiny.WORK: work, tiny.SIZE: size})
    return measured


class Client:
    """Asks a gateway, and watches its health from before."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._diagnose = DiagnoseServiceStub(channel).Diagnose
        self._models = ModelServiceStub(channel).ListModels
        self.health: Iterator[Any] = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=60
        )
        assert next(self.health).status == health_pb2.HealthCheckResponse.SERVING

    def ask(self, size: float) -> str:
        answer = self._diagnose(request(0, size), timeout=20)
        return str(answer.findings[0].label)

    def begin(self, work: float) -> Any:
        """A call that the gateway has taken: on one connection it takes them in their order."""
        call = self._diagnose.future(request(work), timeout=30)
        self._models(model.ListModelsRequest(), timeout=20)
        assert not call.done()
        return call

    def wait_not_serving(self) -> None:
        assert next(self.health).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_sigterm_answers_what_is_in_flight_and_leaves_nothing(
    store: ReleaseStore, start_gateway: Callable[..., Any]
) -> None:
    tiny.route(store, "diagnose-measurements/r1")
    gateway = start_gateway("--embedded")
    triton = gateway.triton_pid()
    with grpc.insecure_channel(gateway.target) as channel:
        client = Client(channel)
        assert (client.ask(2), client.ask(-2)) == ("big", "small")
        calls = [client.begin(SLOW), client.begin(1)]
        gateway.process.send_signal(signal.SIGTERM)
        client.wait_not_serving()
        assert [call.result().findings[0].label for call in calls] == ["big", "big"]
    assert gateway.process.wait(30) == 0, "".join(gateway.log)
    with pytest.raises(ProcessLookupError):
        os.kill(triton, 0)


def test_another_triton_serves_and_a_second_signal_ends_the_gateway_at_once(
    store: ReleaseStore, start_gateway: Callable[..., Any], tiny_triton: EmbeddedTriton
) -> None:
    tiny.route(store, "diagnose-measurements/r1")
    gateway = start_gateway("--triton", tiny_triton.target)
    pid = tiny_triton.pid
    with grpc.insecure_channel(gateway.target) as channel:
        client = Client(channel)
        assert client.ask(-2) == "small"
        call = client.begin(5 * SLOW)
        gateway.process.send_signal(signal.SIGTERM)
        client.wait_not_serving()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 1, "".join(gateway.log)
        assert call.exception() is not None
    assert tiny_triton.pid == pid, "the gateway ended a Triton that is not its own"
