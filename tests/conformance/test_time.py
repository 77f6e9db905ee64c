"""Deadlines and clients that go."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2
from served_process import CALL_S, Client, seen, struct, structs

LONG_S = 1000


def test_the_server_sees_how_much_time_is_left(client: Client) -> None:
    assert 0 < client.unary({"timeout": 50})["remaining"] <= 50.1
    assert (
        3000 < client.unary({"timeout": 3600 * 24})["remaining"] <= 3600 * 25
    )  # rounded up to hours


def test_a_call_without_a_deadline_has_none(client: Client) -> None:
    assert client.unary({"timeout": None})["remaining"] is None


@pytest.mark.parametrize("name", ["now", "soon"])
def test_a_deadline_that_passes_ends_the_call_on_both_sides(client: Client, name: str) -> None:
    timeout = {"now": 0.02, "soon": 0.3}[name]
    options = {"timeout": timeout, "metadata": (("name", f"expires {name}"),)}
    with pytest.raises(grpc.RpcError) as raised:
        client.unary(options, name=f"expires {name}", sleep=LONG_S)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    ended = client.unary(reached=f"expires {name} cancelled", codes_of=f"expires {name}")
    assert ended["codes"] == [code_pb2.DEADLINE_EXCEEDED]


def test_a_deadline_that_passes_ends_a_stream(client: Client) -> None:
    options: Any = {"timeout": 0.3, "metadata": (("name", "stream expires"),)}
    wishes = [{"value": 1}, {"name": "stream expires", "sleep": LONG_S}]
    answers = client.call["BidiStream"](structs(wishes), **options)
    assert seen(next(answers))["value"] == 1
    with pytest.raises(grpc.RpcError) as raised:
        next(answers)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    ended = client.unary(reached="stream expires cancelled", codes_of="stream expires")
    assert ended["codes"] == [code_pb2.DEADLINE_EXCEEDED]


def test_a_client_that_cancels_is_seen_by_the_handler(client: Client) -> None:
    options = {"timeout": None, "metadata": (("name", "cancels"),)}
    call = client.start(options, name="cancels", sleep=LONG_S)
    client.unary(reached="cancels")
    call.cancel()
    ended = client.unary(reached="cancels cancelled", codes_of="cancels")
    assert ended["codes"] == [code_pb2.CANCELLED]


@pytest.mark.parametrize("ended", [False, True], ids=["still sending", "all sent"])
def test_a_client_that_cancels_a_stream_is_seen_by_the_handler(client: Client, ended: bool) -> None:
    name = f"stream cancels {ended}"
    wishes: Any = [{"name": name, "sleep": LONG_S}]
    asked = structs(wishes) if ended else endless(wishes[0])
    call = client.call["BidiStream"](asked, timeout=None, metadata=(("name", name),))
    client.unary(reached=name)
    call.cancel()
    seen_at_end = client.unary(reached=f"{name} cancelled", codes_of=name)
    assert seen_at_end["codes"] == [code_pb2.CANCELLED]


def endless(wish: dict[str, Any]) -> Any:
    yield struct(**wish)
    threading.Event().wait(CALL_S)


def test_a_client_that_reads_no_more_of_a_server_stream_ends_it(client: Client) -> None:
    options: Any = {"timeout": None, "metadata": (("name", "reads no more"),)}
    call = client.call["ServerStream"](struct(count=10**6, filler=10_000), **options)
    next(call)
    call.cancel()
    assert client.unary(codes_of="reads no more")["codes"] == [code_pb2.CANCELLED]


def test_a_client_whose_connection_breaks_is_seen_by_the_handler(
    client: Client, server: Any
) -> None:
    with grpc.insecure_channel(
        server.target, options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        other = Client(channel)
        call = other.start({"timeout": None}, name="breaks", sleep=LONG_S)
        client.unary(reached="breaks")
    client.unary(reached="breaks cancelled")
    assert call.code() == grpc.StatusCode.CANCELLED
