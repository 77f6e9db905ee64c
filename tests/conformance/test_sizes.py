"""Compression, both ways, and the limit of a message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from conformance_app import MAX_MESSAGE_BYTES
from counting_relay import CountingRelay
from served_process import CALL_S, Client, ServedProcess, seen, struct, structs

PLAIN = "y" * 200_000
SMALL = 20_000
"""Bytes of the same compressed, with all that surrounds it."""
TOO_LARGE = "z" * (MAX_MESSAGE_BYTES + 1)
UNLIMITED = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


@pytest.fixture
def relay(server: ServedProcess) -> Iterator[CountingRelay]:
    """Passes bytes on to the server, and counts them."""
    with CountingRelay(server.port) as relay:
        yield relay


@pytest.fixture
def through(relay: CountingRelay) -> Iterator[Client]:
    """A client on the other side of the relay."""
    with grpc.insecure_channel(relay.target, options=UNLIMITED) as channel:
        yield Client(channel)


def test_nothing_is_compressed_that_nobody_wants_compressed(
    relay: CountingRelay, through: Client
) -> None:
    assert through.unary(value=PLAIN)["value"] == PLAIN
    assert relay.up > len(PLAIN)
    assert relay.down > len(PLAIN)


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_understood(
    relay: CountingRelay, through: Client, how: grpc.Compression
) -> None:
    assert through.unary({"compression": how}, value=PLAIN)["value"] == PLAIN
    assert relay.up < SMALL
    answers = through.call["BidiStream"](
        structs([{"value": PLAIN}] * 3), timeout=CALL_S, compression=how
    )
    assert [seen(one)["value"] for one in answers] == [PLAIN] * 3
    assert relay.up < 2 * SMALL


def test_answers_are_compressed_where_the_servicer_wants_that(
    relay: CountingRelay, through: Client
) -> None:
    assert through.unary(filler=len(PLAIN), compress=True)["filler"] == "x" * len(PLAIN)
    assert relay.down < SMALL
    wish = struct(count=3, filler=len(PLAIN), compress=True)
    answers = through.call["ServerStream"](wish, timeout=CALL_S)
    assert [len(seen(one)["filler"]) for one in answers] == [len(PLAIN)] * 3
    assert relay.down < 2 * SMALL


@pytest.fixture
def unlimited(server: ServedProcess) -> Iterator[Client]:
    """A client that would send and take anything."""
    with grpc.insecure_channel(server.target, options=UNLIMITED) as channel:
        yield Client(channel)


def check(raised: Any, client: Client) -> None:
    """The call was refused, and the connection serves on."""
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.unary(value=1)["value"] == 1


@pytest.mark.parametrize("how", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_request_over_the_limit_is_refused_however_small_it_is_compressed(
    unlimited: Client, how: grpc.Compression
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        unlimited.unary({"compression": how}, value=TOO_LARGE)
    check(raised, unlimited)


def test_an_element_of_a_stream_over_the_limit_ends_it(unlimited: Client) -> None:
    answers = unlimited.call["BidiStream"](
        structs([{"value": 1}, {"value": TOO_LARGE}]), timeout=CALL_S
    )
    with pytest.raises(grpc.RpcError) as raised:
        list(answers)
    check(raised, unlimited)


def test_an_answer_over_the_limit_is_not_sent(unlimited: Client) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        unlimited.unary(filler=MAX_MESSAGE_BYTES)
    check(raised, unlimited)


def test_a_request_at_the_limit_is_answered(unlimited: Client) -> None:
    room = MAX_MESSAGE_BYTES - struct(value=TOO_LARGE).ByteSize() + len(TOO_LARGE)
    assert struct(value="z" * room).ByteSize() == MAX_MESSAGE_BYTES
    assert unlimited.call["ClientStream"](structs([{"value": "z" * room, "sleep": 0}][:0]))
    call = unlimited.channel.unary_unary("/trident.risk.v1.RiskService/ScoreRisk")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"\xff" * MAX_MESSAGE_BYTES, timeout=CALL_S)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # it was read
