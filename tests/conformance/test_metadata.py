"""What travels beside the messages."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from served_process import CALL_S, Client, ServedProcess, binary, struct, structs

SENT = (
    ("name", "value"),
    ("repeated", "1"),
    ("repeated", "2"),
    ("some-bin", bytes(range(256))),
    ("repeated-bin", b"\xff"),
    ("repeated-bin", b""),
    ("spaces", "a b, c;d=\"e\""),
    ("under_score", "x" * 2000),
)  # fmt: skip


def test_the_server_sees_all_metadata_in_its_order(client: Client) -> None:
    answer = client.unary({"metadata": SENT})
    keys = {key for key, _ in SENT}
    seen = [tuple(one) for one in answer["metadata"] if one[0] in keys]
    expected = [
        (key, "bytes", binary(value)) if isinstance(value, bytes) else (key, "text", value)
        for key, value in SENT
    ]
    for key in keys:  # gRPC keeps the order among equal keys, no more
        ours = [one for one in seen if one[0] == key]
        assert ours == [one for one in expected if one[0] == key]


def test_what_belongs_to_the_transport_is_no_metadata(client: Client) -> None:
    keys = {key for key, *_ in client.unary()["metadata"]}
    assert keys == {"user-agent"}


def test_a_single_key_is_found_and_the_last_of_repeated_keys_is_it(client: Client) -> None:
    metadata = (("single", "1"), ("single", "2"))
    assert client.unary({"metadata": metadata})["header"] == "2"
    assert client.unary()["header"] is None


def test_the_server_knows_the_address_of_the_client(client: Client) -> None:
    address, _, port = client.unary()["peer"].rpartition(":")
    assert address == "ipv4:127.0.0.1"
    assert 0 < int(port) < 65536


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_client_that_shows_nothing_is_its_address_written_alike_on_all_transports(
    transport: str, host: str, tmp_path: Path
) -> None:
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with closing(ServedProcess(transport, tmp_path, host=host)) as server:
        server.wait_listening()
        with grpc.insecure_channel(server.target) as channel:
            assert Client(channel).unary()["who"] == host


REPLY = {
    "initial": [["first", "1"], ["first", "2"], ["first-bin", binary(b"\0\xff")]],
    "trailing": [["last", "3"], ["last", "4"], ["last-bin", binary(b"\xff\0\x01")]],
}


def check(call: Any) -> None:
    initial = [pair for pair in call.initial_metadata() if pair[0].startswith("first")]
    trailing = [pair for pair in call.trailing_metadata() if pair[0].startswith("last")]
    assert sorted(initial) == [("first", "1"), ("first", "2"), ("first-bin", b"\0\xff")]
    assert sorted(trailing) == [("last", "3"), ("last", "4"), ("last-bin", b"\xff\0\x01")]


def test_a_unary_call_gives_initial_and_trailing_metadata(client: Client) -> None:
    answer, call = client.call["Unary"].with_call(struct(value="a", **REPLY), timeout=CALL_S)
    assert answer["value"] == "a"
    check(call)


def test_a_client_stream_gives_initial_and_trailing_metadata(client: Client) -> None:
    _, call = client.call["ClientStream"].with_call(structs([REPLY]), timeout=CALL_S)
    check(call)


@pytest.mark.parametrize("method", ["ServerStream", "BidiStream"])
def test_a_stream_gives_initial_and_trailing_metadata(client: Client, method: str) -> None:
    asked = struct(count=0, **REPLY) if method == "ServerStream" else structs([REPLY])
    call = client.call[method](asked, timeout=CALL_S)
    assert len(list(call)) == (0 if method == "ServerStream" else 1)
    check(call)
