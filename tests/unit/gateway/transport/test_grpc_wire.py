from __future__ import annotations

import asyncio
import base64
import gzip
import random
import threading
import zlib
from itertools import pairwise
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from gateway.transport.grpc_wire import (
    Deframer,
    Packed,
    decode_metadata,
    encode_message,
    encode_metadata,
    encode_status,
    frame,
    parse_timeout,
    unpacked,
)
from gateway.transport.rpc import RpcFailed

MAX = 1000


def plain(messages: list[bytes | Packed]) -> list[bytes]:
    return [asyncio.run(unpacked(message)) for message in messages]


def code_of(raised: Any) -> int:
    return int(raised.value.status.code)


@given(
    messages=st.lists(st.tuples(st.binary(max_size=60), st.booleans()), max_size=6),
    cuts=st.lists(st.integers(0, 600), max_size=12),
)
def test_messages_come_out_whole_however_the_body_is_cut(
    messages: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    body = b"".join(frame(message, compressed) for message, compressed in messages)
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    deframer = Deframer(b"gzip", MAX)
    out = []
    for start, end in pairwise(places):
        out += deframer.feed(body[start:end])
    assert plain(out) == [message for message, _ in messages]
    assert deframer.is_empty


def test_part_of_a_message_waits_for_its_rest() -> None:
    deframer = Deframer(b"", MAX)
    assert deframer.feed(frame(b"abc")[:-1]) == []
    assert not deframer.is_empty


def test_a_message_over_the_limit_is_refused_before_it_is_there() -> None:
    assert Deframer(b"", MAX).feed(frame(b"x" * MAX)) == [b"x" * MAX]
    with pytest.raises(RpcFailed, match="1001 bytes is over the limit of 1000") as raised:
        Deframer(b"", MAX).feed(frame(b"x" * (MAX + 1))[:5])
    assert code_of(raised) == code_pb2.RESOURCE_EXHAUSTED


def test_a_message_that_grows_over_the_limit_is_refused() -> None:
    small = frame(b"x" * 100_000, compress=True)
    assert len(small) < MAX
    with pytest.raises(RpcFailed) as raised:
        plain(Deframer(b"gzip", MAX).feed(small))
    assert code_of(raised) == code_pb2.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("data", "on_a_thread"),
    [(b"x" * 1000, False), (bytes(10_000_000), True), (random.Random(1).randbytes(300_000), True)],
    ids=["small", "large once inflated", "large as it comes"],
)
def test_what_takes_long_to_inflate_does_not_hold_up_the_event_loop(
    data: bytes, on_a_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inflated: list[bool] = []
    inflate = Packed.inflate

    def noted(self: Packed, at_most: int | None = None) -> bytes | None:
        main = threading.current_thread() is threading.main_thread()
        if main:
            assert at_most is not None
            assert at_most < 1_000_000, "all of it, on the event loop"
        inflated.append(not main)
        return inflate(self, at_most)

    monkeypatch.setattr(Packed, "inflate", noted)
    messages = Deframer(b"gzip", 2 * len(data)).feed(frame(data, compress=True))
    same = plain(messages) == [data]  # a difference would be long
    assert same
    assert inflated[-1] == on_a_thread


def test_deflate_is_understood_too() -> None:
    data = zlib.compress(b"abc")
    body = b"\1" + len(data).to_bytes(4, "big") + data
    assert plain(Deframer(b"deflate", MAX).feed(body)) == [b"abc"]


@pytest.mark.parametrize(
    ("encoding", "data", "code"),
    [
        (b"", b"abc", code_pb2.INTERNAL),
        (b"identity", b"abc", code_pb2.INTERNAL),
        (b"br", b"abc", code_pb2.UNIMPLEMENTED),
        (b"gzip", b"abc", code_pb2.INTERNAL),
        (b"gzip", gzip.compress(b"abc")[:-9], code_pb2.INTERNAL),
    ],
    ids=["unsaid", "identity", "unknown", "garbage", "cut off"],
)
def test_what_cannot_be_decompressed_is_refused(encoding: bytes, data: bytes, code: int) -> None:
    with pytest.raises(RpcFailed) as raised:
        plain(Deframer(encoding, MAX).feed(b"\1" + len(data).to_bytes(4, "big") + data))
    assert code_of(raised) == code


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"2H", 7200), (b"3M", 180), (b"4S", 4), (b"99999999m", 99999.999), (b"0m", 0),
     (b"7u", 7e-6), (b"8n", 8e-9)],
)  # fmt: skip
def test_timeouts_have_units(value: bytes, seconds: float) -> None:
    assert parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"S", b"1", b"1s", b"-1S", b"1.5S", b"123456789S"])
def test_a_timeout_that_makes_no_sense_is_refused(value: bytes) -> None:
    with pytest.raises(RpcFailed) as raised:
        parse_timeout(value)
    assert code_of(raised) == code_pb2.INTERNAL


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("a-bin"), st.binary(max_size=40)),
            st.tuples(st.just("b"), st.text(st.characters(min_codepoint=32, max_codepoint=126))),
        )
    )
)
def test_metadata_comes_back_as_it_went(pairs: list[tuple[str, Any]]) -> None:
    assert decode_metadata(encode_metadata(pairs)) == pairs


def test_binary_values_may_be_joined_and_padded() -> None:
    headers = [(b"a-bin", b"AA==, /w"), (b"b-bin", b"!")]
    assert decode_metadata(headers) == [("a-bin", b"\0"), ("a-bin", b"\xff"), ("b-bin", b"")]


def test_what_belongs_to_the_transport_is_no_metadata() -> None:
    headers = [(b"host", b"x"), (b"te", b"trailers"), (b"grpc-timeout", b"1S"), (b"a", b"1")]
    assert decode_metadata(headers) == [("a", "1")]


@given(st.text())
def test_any_message_is_ascii_on_the_wire_and_comes_back(message: str) -> None:
    encoded = encode_message(message)
    assert all(0x20 <= byte < 0x7F for byte in encoded)
    assert unquote_to_bytes(encoded).decode() == message


def test_a_status_with_details_travels_whole() -> None:
    status = status_pb2.Status(code=9, message="50 % off")
    status.details.append(any_pb2.Any(type_url="x/y", value=b"z"))
    trailers = dict(encode_status(status))
    assert trailers[b"grpc-status"] == b"9"
    assert trailers[b"grpc-message"] == b"50 %25 off"
    details = trailers[b"grpc-status-details-bin"]
    assert base64.b64decode(details + b"==") == status.SerializeToString()


def test_a_status_says_no_more_than_there_is() -> None:
    assert encode_status(status_pb2.Status(code=5)) == [(b"grpc-status", b"5")]
