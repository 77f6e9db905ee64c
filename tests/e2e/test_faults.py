"""What happens when Triton is killed, and when the gateway is told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from served import Gateway

from trident.recommend.v1 import recommend_service_pb2 as recommend
from trident.recommend.v1.recommend_service_pb2_grpc import RecommendServiceStub

pytestmark = pytest.mark.e2e


@pytest.fixture
def own_gateway(built: Any, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that may be hurt."""
    server = Gateway(built.path, tmp_path)
    server.start()
    yield server
    server.stop()


class Caller(threading.Thread):
    """Asks the same question again and again, and keeps what came back."""

    def __init__(self, target: str, request: recommend.RecommendRequest) -> None:
        super().__init__(daemon=True)
        self.target = target
        self.request = request
        self.answers: list[tuple[str, ...]] = []
        self.errors: list[grpc.RpcError] = []
        self.done = threading.Event()

    def run(self) -> None:
        with grpc.insecure_channel(self.target) as channel:
            stub = RecommendServiceStub(channel)
            while not self.done.is_set():
                try:
                    answer = stub.Recommend(self.request, timeout=10)
                    self.answers.append(tuple(item.item_id for item in answer.items))
                except grpc.RpcError as error:
                    self.errors.append(error)
                    self.done.wait(0.05)


def details(error: grpc.RpcError) -> dict[str, Any]:
    """The details of a status by the name of their message."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    kinds = {kind.DESCRIPTOR.full_name: kind for kind in (
        error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo)}  # fmt: skip
    found = {}
    for packed in status.details:
        name = packed.TypeName()
        found[name.rpartition(".")[2]] = kinds[name].FromString(packed.value)
    return found


def test_service_returns_by_itself_after_triton_is_killed_under_load(
    own_gateway: Gateway, built: Any
) -> None:
    rows = built.test_rows("recommend")[:4]
    requests = [
        recommend.RecommendRequest(history_item_ids=row["history_item_ids"][-20:]) for row in rows
    ]
    with grpc.insecure_channel(own_gateway.target) as channel:
        stub = RecommendServiceStub(channel)
        right = [tuple(i.item_id for i in stub.Recommend(request).items) for request in requests]
    assert len(set(right)) == len(right), "the rows must have different answers"
    callers = [Caller(own_gateway.target, request) for request in requests]
    for caller in callers:
        caller.start()
    while any(len(caller.answers) < 5 for caller in callers):
        assert all(caller.is_alive() for caller in callers)
        time.sleep(0.02)
    first_pid = own_gateway.triton_pid()
    os.kill(first_pid, signal.SIGKILL)
    killed = time.monotonic()
    while not any(caller.errors for caller in callers):
        assert time.monotonic() - killed < 15
        time.sleep(0.01)
    back = [len(caller.answers) for caller in callers]
    while any(len(c.answers) < n + 5 for c, n in zip(callers, back, strict=True)):
        assert time.monotonic() - killed < 40, "service did not return"
        time.sleep(0.02)
    for caller in callers:
        caller.done.set()
        caller.join()
    assert own_gateway.triton_pid() != first_pid
    for caller, answer in zip(callers, right, strict=True):
        assert set(caller.answers) == {answer}
        for error in caller.errors:
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            info = details(error)
            assert info["ErrorInfo"].reason == "MODEL_UNAVAILABLE"
            assert info["RetryInfo"].retry_delay.ToMilliseconds() > 0
    own_gateway.wait_serving()


def test_a_stopped_gateway_leaves_no_process_behind(own_gateway: Gateway) -> None:
    triton = own_gateway.triton_pid()
    assert own_gateway.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(triton, 0)
