"""Messages that begin to come, and do not end."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from attackers import PREFACE, frame, request_head
from conformance_service import NAME
from served_process import CALL_S, Client, ServedProcess, seen, structs

MESSAGE_S = 0.5
HEADERS, RESET, GOAWAY = 1, 3, 7


@pytest.fixture(scope="module")
def impatient(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    """A server on which messages have little time."""
    folder: Path = tmp_path_factory.mktemp(f"impatient-{transport}")
    server = ServedProcess(transport, folder, settings={"message_timeout_s": MESSAGE_S})
    with closing(server):
        server.wait_listening()
        yield server


@pytest.fixture
def honest(impatient: ServedProcess) -> Iterator[Client]:
    """A client that sends its messages whole."""
    with grpc.insecure_channel(
        impatient.target, options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        yield Client(channel)


def begun(server: ServedProcess, method: str, *parts: bytes) -> int:
    """The kind of frame with which a server ends a call of which only these parts came."""
    with socket.create_connection(("127.0.0.1", server.port), CALL_S) as one:
        head = request_head(f"/{NAME}/{method}".encode())
        data = b"".join(frame(0, 0, 1, part) for part in parts)
        one.sendall(PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, head) + data)
        with one.makefile("rb") as answers:
            while True:
                start = answers.read(9)
                assert len(start) == 9, "the connection was closed"
                payload = answers.read(int.from_bytes(start[:3], "big"))
                kind, flags, stream = start[3], start[4], int.from_bytes(start[5:], "big")
                assert kind != GOAWAY, payload
                if stream == 1 and (kind == RESET or (kind == HEADERS and flags & 1)):
                    return kind


def test_a_call_whose_message_does_not_come_whole_is_ended(impatient: ServedProcess) -> None:
    assert begun(impatient, "Unary", struct.pack(">BI", 0, 1000), b"x" * 10) in (HEADERS, RESET)


def test_a_call_without_any_of_its_message_is_ended(impatient: ServedProcess) -> None:
    assert begun(impatient, "Unary") in (HEADERS, RESET)


def test_a_stream_in_which_a_message_does_not_end_is_ended_where_that_can_be_seen(
    impatient: ServedProcess, transport: str
) -> None:
    if transport == "grpc":
        pytest.skip("grpc tells nothing of a message before it is whole")
    whole = struct.pack(">BI", 0, 0)
    assert begun(impatient, "BidiStream", whole, whole[:3]) in (HEADERS, RESET)


def test_what_takes_long_to_answer_and_streams_that_are_silent_go_on(honest: Client) -> None:
    assert honest.unary(value=1, sleep=3 * MESSAGE_S)["value"] == 1
    wishes = [{"value": 1, "sleep": 3 * MESSAGE_S}, {"value": 2}]

    def slowly() -> Iterator[object]:
        for one in structs(wishes):
            yield one
            honest.unary(sleep=2 * MESSAGE_S)

    answers = honest.call["BidiStream"](slowly(), timeout=CALL_S)
    assert [seen(one)["value"] for one in answers] == [1, 2]
