"""The end of a server, and connections that nothing passes over."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from served_process import CALL_S, START_S, Client, ServedProcess, struct
from wire import refusal_of

LONG_S = 1000

REFUSED = {
    # In the moment in which grpc's server closes, it cancels what it has not begun.
    "grpc": {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED},
    "envoy": {grpc.StatusCode.UNAVAILABLE},
}

Start = Callable[..., ServedProcess]


@pytest.fixture
def start(transport: str, tmp_path: Path) -> Iterator[Start]:
    """Starts servers, which are gone in the end."""
    with ExitStack() as stack:

        def one(name: str = "only", port: int = 0) -> ServedProcess:
            server = ServedProcess(transport, tmp_path / name, port, name)
            stack.callback(server.close)
            server.wait_listening()
            return server

        yield one


def channel_to(server: ServedProcess, **options: int) -> Any:
    given = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100)]
    return grpc.insecure_channel(
        server.target,
        options=[*given, *((key.replace("__", "."), v) for key, v in options.items())],
    )


def test_what_is_in_flight_finishes_and_what_comes_is_refused(start: Start) -> None:
    server = start()
    with channel_to(server) as channel:
        client = Client(channel)
        old = client.start(name="old", sleep=1.5, value="old")
        stream = client.call["BidiStream"](iter([struct(sleep=1.5, value=1)]), timeout=CALL_S)
        client.unary(reached="old")
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.send(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError) as raised:
            client.unary(value="new")
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        assert old.result()["value"] == "old"
        assert [one["value"] for one in stream] == [1]
    assert server.process.wait(START_S) == 0
    assert server.log.read_text() == ""


def test_who_is_refused_while_a_server_stops_is_told_to_retry(start: Start) -> None:
    server = start()
    with channel_to(server) as channel:
        client = Client(channel)
        old = client.start(name="old", sleep=1.0)
        client.unary(reached="old")
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        next(watch)
        server.send(signal.SIGTERM)
        next(watch)
        risk = channel.unary_unary("/trident.risk.v1.RiskService/ScoreRisk")
        with pytest.raises(grpc.RpcError) as raised:
            risk(b"", timeout=CALL_S)
        refused = refusal_of(raised.value)
        assert (refused.reason, refused.retry_after_s) == ("SHUTTING_DOWN", 0.1)
        old.result()


def test_a_channel_goes_on_with_another_server(start: Start, transport: str) -> None:
    first = start("first")
    with channel_to(first) as channel:
        client = Client(channel)
        old = client.start(name="old", sleep=0.5, value="old")
        client.unary(reached="old")
        second = start("second", first.port)
        first.send(signal.SIGTERM)
        deadline = time.monotonic() + CALL_S
        answered_by = None
        while answered_by != "second" and time.monotonic() < deadline:
            try:
                answered_by = client.unary(value="new")["server"]
            except grpc.RpcError as error:
                assert error.code() in REFUSED[transport]  # noqa: PT017
        assert answered_by == "second"
        assert old.result()["value"] == "old"
        assert first.process.wait(START_S) == 0
        assert second.process.poll() is None


def test_a_second_signal_ends_what_is_in_flight(start: Start) -> None:
    server = start()
    with channel_to(server) as channel:
        client = Client(channel)
        old = client.start(name="old", sleep=LONG_S)
        client.unary(reached="old")
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        next(watch)
        server.send(signal.SIGTERM)
        next(watch)
        server.send(signal.SIGTERM)
        with pytest.raises(grpc.RpcError):
            old.result()
    assert server.process.wait(START_S) == 0


def test_a_quiet_connection_is_kept_by_pings_and_a_dead_one_is_noticed(start: Start) -> None:
    server = start()
    # One ping a second: servers that are pinged more often than they like hang up.
    pings = {
        "grpc__keepalive_time_ms": 500,
        "grpc__keepalive_timeout_ms": 1000,
        "grpc__http2__ping_timeout_ms": 1000,
        "grpc__http2__max_pings_without_data": 0,
    }
    with channel_to(server, **pings) as channel:
        client = Client(channel)
        assert client.unary(sleep=2.2, value="kept")["value"] == "kept"
        silent = client.start(sleep=LONG_S, name="silent")
        client.unary(reached="silent")
        server.send(signal.SIGSTOP)
        try:
            with pytest.raises(grpc.RpcError) as raised:
                silent.result()
        finally:
            server.send(signal.SIGCONT)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


def test_many_clients_can_be_connected_at_once(server: ServedProcess) -> None:
    together = threading.Barrier(50)

    def ask(value: int) -> bool:
        with channel_to(server) as channel:
            client = Client(channel)
            client.unary()
            together.wait(CALL_S)
            return bool(client.unary(value=value)["value"] == value)

    with ThreadPoolExecutor(50) as threads:
        assert all(threads.map(ask, range(50)))
