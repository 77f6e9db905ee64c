"""How many calls a connection has at a time, and what becomes of more."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from attackers import PREFACE, frame, request_head
from conformance_service import NAME
from served_process import CALL_S, ServedProcess
from served_process import struct as wish

MOST = 20
DATA, HEADERS, RESET, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
MAX_CONCURRENT_STREAMS = 3
CANCEL, REFUSED_STREAM = struct.pack(">I", 8), struct.pack(">I", 7)


class Closed(Exception):
    """The server has closed the connection."""


@pytest.fixture(scope="module")
def narrow(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    """A server whose connections have few calls at a time."""
    folder: Path = tmp_path_factory.mktemp(f"narrow-{transport}")
    server = ServedProcess(transport, folder, settings={"max_concurrent_streams": MOST})
    with closing(server):
        server.wait_listening()
        yield server


def frames(answers: BinaryIO) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of what a server sends."""
    while True:
        start = answers.read(9)
        payload = answers.read(int.from_bytes(start[:3], "big"))
        if len(start) < 9 or start[3] == GOAWAY:
            raise Closed(payload)
        yield start[3], start[4], int.from_bytes(start[5:], "big"), payload


def told(answers: BinaryIO) -> int:
    """How many calls at a time a server says that a connection has."""
    settings = next(payload for kind, flags, _, payload in frames(answers)
                    if kind == SETTINGS and not flags & ACK)  # fmt: skip
    return dict(struct.iter_unpack(">HI", settings))[MAX_CONCURRENT_STREAMS]


@contextmanager
def connected(server: ServedProcess) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """A connection, and what comes over it."""
    with socket.create_connection(("127.0.0.1", server.port), CALL_S) as one:
        one.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        with one.makefile("rb") as answers:
            yield one, answers


def begun(streams: range) -> bytes:
    head = request_head(f"/{NAME}/Unary".encode())
    return b"".join(frame(HEADERS, END_HEADERS, stream, head) for stream in streams)


def asked(streams: range) -> bytes:
    message = wish(value="a").SerializeToString()
    data = struct.pack(">BI", 0, len(message)) + message
    return b"".join(frame(DATA, END_STREAM, stream, data) for stream in streams)


def reset(streams: range) -> bytes:
    return b"".join(frame(RESET, 0, stream, CANCEL) for stream in streams)


def ends(answers: BinaryIO, count: int) -> Counter[tuple[int, bytes]]:
    """With what so many calls end: a reset and its reason, or the trailers of an answer."""
    found: Counter[tuple[int, bytes]] = Counter()
    for kind, flags, _, payload in frames(answers):
        if kind == RESET or (kind == HEADERS and flags & END_STREAM):
            found[kind, payload if kind == RESET else b""] += 1
            if found.total() == count:
                return found
    raise AssertionError("frames end only with an error")


def test_a_client_is_told_how_many_calls_it_has_at_a_time(
    narrow: ServedProcess, server: ServedProcess
) -> None:
    for one, most in ((narrow, MOST), (server, 100)):
        with connected(one) as (_, answers):
            assert told(answers) == most


def test_who_begins_more_has_those_refused_or_the_connection_closed(
    narrow: ServedProcess, transport: str
) -> None:
    with connected(narrow) as (connection, answers):
        told(answers)
        connection.sendall(frame(SETTINGS, ACK, 0, b""))
        more = range(2 * MOST + 1, 2 * MOST + 11, 2)
        connection.sendall(begun(range(1, 2 * MOST, 2)) + begun(more))
        if transport == "envoy":
            with pytest.raises(Closed):
                ends(answers, len(more))
            return
        assert ends(answers, len(more)) == {(RESET, REFUSED_STREAM): len(more)}
        connection.sendall(asked(range(1, 2 * MOST, 2)))
        assert ends(answers, MOST) == {(HEADERS, b""): MOST}


def test_calls_that_have_ended_and_are_not_seen_to_take_no_place(narrow: ServedProcess) -> None:
    with connected(narrow) as (connection, answers):
        told(answers)
        connection.sendall(frame(SETTINGS, ACK, 0, b""))
        some, others, last = (range(2 * MOST * n + 1, 2 * MOST * (n + 1), 2) for n in range(3))
        connection.sendall(
            begun(some) + reset(some) + begun(others) + reset(others) + begun(last) + asked(last)
        )
        assert ends(answers, MOST) == {(HEADERS, b""): MOST}
