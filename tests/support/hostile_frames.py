"""HTTP/2 connections as Hypothesis thinks them up: nearly right, so that they get far in."""

from __future__ import annotations

import struct

from attackers import frame, literal
from hypothesis import strategies as st

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4

PATHS = (
    b"/trident.diagnose.v1.DiagnoseService/Diagnose",
    b"/trident.diagnose.v1.DiagnoseService/BatchDiagnose",
    b"/trident.diagnose.v1.DiagnoseService/StreamDiagnose",
    b"/trident.conformance.v1.ConformanceService/BidiStream",
    b"/grpc.health.v1.Health/Watch",
    b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    b"/",
    b"*",
)
_small = st.binary(max_size=40)
_number = st.one_of(st.integers(0, 16), st.integers(0, (1 << 32) - 1))
_stream = st.one_of(st.integers(0, 9), st.integers(0, (1 << 31) - 1))
_text = st.binary(max_size=100)

_right = st.sampled_from(
    [
        (b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b"te", b"trailers"),
        (b"content-type", b"application/grpc"), (b"grpc-encoding", b"gzip"),
        (b"grpc-timeout", b"1S"), (b"grpc-timeout", b"99999999H"), (b"grpc-timeout", b"-1n"),
        (b"content-length", b"7"), (b"x-bin", b"%%%"), (b"authorization", b"Bearer x"),
        (b"traceparent", b"00-" + 32 * b"1" + b"-" + 16 * b"2" + b"-01"),
    ]
)  # fmt: skip
_any_header = st.tuples(_text, _text)


@st.composite
def header_blocks(draw: st.DrawFn) -> bytes:
    """Headers of a call, some missing, twice, or what no client would send."""
    usual = [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", draw(st.sampled_from(PATHS))),
        (b"te", b"trailers"), (b"content-type", b"application/grpc"),
    ]  # fmt: skip
    for place in draw(st.sets(st.integers(0, len(usual) - 1), max_size=2)):
        if draw(st.booleans()):
            usual[place] = draw(_any_header)
    more = draw(st.lists(st.one_of(_right, _any_header), max_size=4))
    block = b"".join(literal(name, value) for name, value in (*usual, *more))
    cut = draw(st.one_of(st.none(), st.integers(0, len(block))))
    return block[:cut] + draw(st.one_of(st.just(b""), _small))


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message in its frame of gRPC, whose length or flag may lie."""
    body = draw(_small)
    size = draw(st.one_of(st.just(len(body)), _number))
    return struct.pack(">BI", draw(st.sampled_from((0, 0, 0, 1, 255))), size) + body


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """One frame: right, nearly right, or anything."""
    kind = draw(st.integers(0, 12))
    stream = draw(_stream)
    flags = draw(st.one_of(st.sampled_from((0, END_STREAM, END_HEADERS, 5)), st.integers(0, 255)))
    payloads = {
        DATA: messages(),
        HEADERS: header_blocks(),
        CONTINUATION: header_blocks(),
        SETTINGS: st.lists(
            st.tuples(st.integers(0, 9), _number).map(lambda one: struct.pack(">HI", *one)),
            max_size=4,
        ).map(b"".join),
        WINDOW: _number.map(lambda value: struct.pack(">I", value)),
        RESET: _number.map(lambda value: struct.pack(">I", value)),
        PING: st.binary(min_size=8, max_size=8),
    }  # fmt: skip
    payload = draw(st.one_of(payloads.get(kind, _small), _small))
    return frame(kind, flags, stream, payload)


@st.composite
def calls(draw: st.DrawFn) -> bytes:
    """A call whose headers are in order, and whose messages are not."""
    stream = 2 * draw(st.integers(0, 200)) + 1
    head = [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", draw(st.sampled_from(PATHS))),
        (b":authority", b"x"), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
        *draw(st.lists(_right.filter(lambda one: not one[0].startswith(b":")), max_size=2)),
    ]  # fmt: skip
    block = b"".join(literal(name, value) for name, value in head)
    parts = draw(st.lists(messages(), max_size=3))
    ends = draw(st.sampled_from((0, END_STREAM)))
    return frame(HEADERS, END_HEADERS, stream, block) + b"".join(
        frame(DATA, ends if place == len(parts) - 1 else 0, stream, part)
        for place, part in enumerate(parts)
    )


connections = st.lists(st.one_of(calls(), frames()), min_size=1, max_size=60)
"""What is sent on one connection, after its greeting."""
