"""What a call makes of every kind of response."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from h2.events import StreamReset
from h2_server import OK, Peer, Request, echo, serving, with_prefix

from gateway.triton.http2 import frames
from gateway.triton.http2.connection import Limits
from gateway.triton.http2.errors import CallFailed

Code = grpc.StatusCode
PATH = "/test.Echo/Say"


async def ask(channel: Any, message: bytes = b"hello", **how: Any) -> bytes:
    async with asyncio.timeout(10):
        answer: bytes = await channel.unary(PATH, message, **how)
        return answer


async def failure(channel: Any, **how: Any) -> tuple[Code, str]:
    with pytest.raises(CallFailed) as raised:
        await ask(channel, **how)
    return raised.value.code(), raised.value.details()


async def test_the_request_is_what_grpc_asks_for(open_channel: Any) -> None:
    async with serving() as server:
        channel = open_channel(server)
        assert await ask(channel, b"") == b""
        assert await ask(channel, timeout_s=1.5, headers={"traceparent": "00-1"}) == b"hello"
        second, first = server.peer.requests.values()
        assert list(first.headers.items()) == [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", server.target),
            (":path", PATH),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "trident-gateway"),
            ("grpc-timeout", "1500000u"),
            ("traceparent", "00-1"),
        ]
        assert "grpc-timeout" not in second.headers
        assert bytes(first.body) == with_prefix(b"hello")


@pytest.mark.parametrize("size", [0, 1, 16_378, 16_379, 16_380, 300_000])
async def test_a_message_of_any_size_comes_and_goes(open_channel: Any, size: int) -> None:
    async with serving() as server:
        message = bytes(number % 251 for number in range(size))
        assert await ask(open_channel(server), message) == message


@pytest.mark.parametrize("size", [1, 3, 4096])
async def test_an_answer_in_many_frames_is_put_together(open_channel: Any, size: int) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.respond(request.stream, request.message, size=size)

    async with serving(answer) as server:
        assert await ask(open_channel(server), b"0123456789" * 50) == b"0123456789" * 50


async def test_trailers_may_come_long_after_the_data(open_channel: Any) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.head(request.stream)
        peer.data(request.stream, with_prefix(b"half")[:7])

    async with serving(answer) as server:
        call = asyncio.ensure_future(ask(open_channel(server)))
        await asyncio.wait((call,), timeout=0)
        while not server.peers or not server.peer.requests:
            await asyncio.sleep(0)
        await server.peer.until(lambda: server.peer.requests[1].body)
        server.peer.data(1, with_prefix(b"half")[7:])
        assert not call.done()
        server.peer.trailers(1)
        assert await call == b"half"


@pytest.mark.parametrize(
    ("message", "details"),
    [
        ("plain", "plain"),
        ("with%20space %E2%82%AC", "with space €"),
        ("100%", "100%"),
        ("%zz%41", "%zzA"),
        ("%ff", "�"),
        ("", ""),
    ],
)
async def test_trailers_alone_say_what_went_wrong(
    open_channel: Any, message: str, details: str
) -> None:
    async with serving(lambda peer, request: peer.fail(request.stream, "3", message)) as server:
        assert await failure(open_channel(server)) == (Code.INVALID_ARGUMENT, details)


@pytest.mark.parametrize("code", list(Code))
async def test_every_code_of_grpc_is_known(open_channel: Any, code: Code) -> None:
    number = str(code.value[0])
    async with serving(lambda peer, request: peer.fail(request.stream, number, "why")) as server:
        expected = (Code.INTERNAL, "No whole message came") if code is Code.OK else (code, "why")
        assert await failure(open_channel(server)) == expected


@pytest.mark.parametrize("number", ["17", "-1", "x", ""])
async def test_a_code_that_is_none_is_unknown(open_channel: Any, number: str) -> None:
    async with serving(lambda peer, request: peer.fail(request.stream, number)) as server:
        assert (await failure(open_channel(server)))[0] is Code.UNKNOWN


async def test_an_error_after_a_message_is_an_error(open_channel: Any) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.head(request.stream)
        peer.data(request.stream, with_prefix(b"something"))
        peer.trailers(request.stream, [("grpc-status", "13"), ("grpc-message", "then not")])

    async with serving(answer) as server:
        assert await failure(open_channel(server)) == (Code.INTERNAL, "then not")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("400", Code.INTERNAL),
        ("401", Code.UNAUTHENTICATED),
        ("403", Code.PERMISSION_DENIED),
        ("404", Code.UNIMPLEMENTED),
        ("429", Code.UNAVAILABLE),
        ("500", Code.UNKNOWN),
        ("502", Code.UNAVAILABLE),
        ("503", Code.UNAVAILABLE),
        ("504", Code.UNAVAILABLE),
    ],
)
async def test_a_server_that_is_no_grpc_server_is_understood(
    open_channel: Any, status: str, code: Code
) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.h2.send_headers(request.stream, [(":status", status), ("content-type", "text/html")])
        peer.data(request.stream, b"<html>no</html>", end=True)

    async with serving(answer) as server:
        expected = (code, f"no gRPC status came, and the HTTP status {status}")
        assert await failure(open_channel(server)) == expected


async def test_a_stream_that_ends_without_a_status_is_unknown(open_channel: Any) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.head(request.stream, *OK)  # a status belongs into trailers
        peer.data(request.stream, with_prefix(b"all"), end=True)

    async with serving(answer) as server:
        assert (await failure(open_channel(server)))[0] is Code.UNKNOWN


async def test_an_interim_response_is_passed_over(open_channel: Any) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.h2.send_headers(request.stream, [(":status", "103")])
        echo(peer, request)

    async with serving(answer) as server:
        assert await ask(open_channel(server)) == b"hello"


def raw_head(stream: int, block: bytes, flags: int = frames.END_HEADERS) -> bytes:
    return frames.frame(frames.HEADERS, flags, stream, block)


STATUS_200 = b"\x88"
DATA = with_prefix(b"x")


@pytest.mark.parametrize(
    ("what", "response", "code", "error_code"),
    [
        (
            "compressed",
            raw_head(1, STATUS_200) + frames.frame(frames.DATA, 0, 1, with_prefix(b"x", 1)),
            Code.INTERNAL,
            frames.CANCEL,
        ),
        (
            "data before headers",
            frames.frame(frames.DATA, 0, 1, DATA),
            Code.INTERNAL,
            frames.PROTOCOL_ERROR,
        ),
        (
            "where trailers belong",
            raw_head(1, STATUS_200) + raw_head(1, STATUS_200),
            Code.INTERNAL,
            frames.PROTOCOL_ERROR,
        ),
        (
            "headers without a status",
            raw_head(1, b"\0\1a\1b"),
            Code.INTERNAL,
            frames.PROTOCOL_ERROR,
        ),
        (
            "an interim response that ends",
            raw_head(1, b"\x08\x03100", frames.END_HEADERS | frames.END_STREAM),
            Code.INTERNAL,
            frames.PROTOCOL_ERROR,
        ),
        (
            "where it must not be",
            raw_head(1, b"\0\1a\1b" + STATUS_200),
            Code.INTERNAL,
            frames.PROTOCOL_ERROR,
        ),
        (
            "with the name b'A'",
            raw_head(1, STATUS_200 + b"\0\1A\1b"),
            Code.INTERNAL,
            frames.PROTOCOL_ERROR,
        ),
        (
            "More than one message",
            raw_head(1, STATUS_200) + frames.frame(frames.DATA, 0, 1, DATA + DATA),
            Code.INTERNAL,
            frames.CANCEL,
        ),
        (
            "larger than max (4294967295 vs. 2147483647)",
            raw_head(1, STATUS_200) + frames.frame(frames.DATA, 0, 1, b"\0\xff\xff\xff\xff"),
            Code.RESOURCE_EXHAUSTED,
            frames.CANCEL,
        ),
        (
            "header list larger",
            raw_head(1, STATUS_200 + b"\x8f" * 2000),
            Code.RESOURCE_EXHAUSTED,
            frames.CANCEL,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_broken_answer_fails_its_call_and_the_server_is_told(
    open_channel: Any, what: str, response: bytes, code: Code, error_code: int
) -> None:
    def answer(peer: Peer, request: Request) -> None:
        if request.stream == 1:
            peer.write(response)
        else:
            echo(peer, request)

    async with serving(answer) as server:
        channel = open_channel(server)
        got, details = await failure(channel)
        assert got is code
        assert what in details
        reset = await server.peer.seen(StreamReset)
        assert (reset.stream_id, reset.error_code) == (1, error_code)
        assert await ask(channel, b"another") == b"another"
        assert len(server.peers) == 1


@pytest.mark.parametrize("missing", [1, 4, 6])
async def test_a_message_that_is_not_whole_is_no_answer(open_channel: Any, missing: int) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.head(request.stream)
        peer.data(request.stream, with_prefix(b"ab")[:-missing])
        peer.trailers(request.stream)

    async with serving(answer) as server:
        expected = (Code.INTERNAL, "No whole message came")
        assert await failure(open_channel(server)) == expected


async def test_a_message_beyond_the_limit_is_refused_at_its_first_byte(open_channel: Any) -> None:
    async with serving() as server:
        channel = open_channel(server, limits=Limits(message_bytes=10))
        assert await ask(channel, b"0123456789") == b"0123456789"
        details = "CLIENT: Received message larger than max (11 vs. 10)"

        with pytest.raises(CallFailed) as raised:
            await ask(channel, b"0123456789-")
        assert (raised.value.code(), raised.value.details()) == (Code.RESOURCE_EXHAUSTED, details)


@pytest.mark.parametrize(
    ("error_code", "code"),
    [
        (0, Code.INTERNAL),
        (1, Code.INTERNAL),
        (2, Code.INTERNAL),
        (7, Code.UNAVAILABLE),
        (8, Code.CANCELLED),
        (11, Code.RESOURCE_EXHAUSTED),
        (12, Code.PERMISSION_DENIED),
        (99, Code.INTERNAL),
    ],
)
async def test_a_stream_that_is_reset_has_grpcs_code(
    open_channel: Any, error_code: int, code: Code
) -> None:
    def answer(peer: Peer, request: Request) -> None:
        peer.h2.reset_stream(request.stream, error_code)

    async with serving(answer) as server:
        got, details = await failure(open_channel(server))
        assert got is code
        assert details.endswith(f"error code {error_code}")


async def test_a_reset_after_the_whole_answer_changes_nothing(open_channel: Any) -> None:
    def answer(peer: Peer, request: Request) -> None:
        echo(peer, request)
        peer.write(frames.number_frame(frames.RST_STREAM, request.stream, frames.NO_ERROR))

    async with serving(answer) as server:
        channel = open_channel(server)
        assert [await ask(channel, one) for one in (b"1", b"2")] == [b"1", b"2"]


async def test_padding_and_priority_are_taken_away(open_channel: Any) -> None:
    priority = b"\0\0\0\0\x10"

    def answer(peer: Peer, request: Request) -> None:
        flags = frames.END_HEADERS | frames.PADDED | frames.PRIORITY_FLAG
        ok = b"\0\x0bgrpc-status\x010"
        peer.write(
            raw_head(1, b"\2" + priority + STATUS_200 + b"\0\0", flags),
            frames.frame(frames.PRIORITY, 0, 1, priority),
            frames.frame(frames.DATA, frames.PADDED, 1, b"\4" + DATA + bytes(4)),
            frames.frame(frames.DATA, frames.PADDED, 1, b"\0"),
            raw_head(1, priority + ok, flags & ~frames.PADDED | frames.END_STREAM),
        )

    async with serving(answer) as server:
        assert await ask(open_channel(server)) == b"x"


@pytest.mark.parametrize("parts", [2, 40])
async def test_headers_may_go_on_in_continuations(open_channel: Any, parts: int) -> None:
    block = b"\0\x0bgrpc-status\x010" + b"".join(b"\0\1a\1" + bytes((n,)) for n in range(65, 90))
    size = -(-len(block) // parts)
    pieces = [block[place : place + size] for place in range(0, len(block), size)]

    def answer(peer: Peer, request: Request) -> None:
        out = [raw_head(1, STATUS_200), frames.frame(frames.DATA, 0, 1, DATA)]
        out.append(raw_head(1, pieces[0], frames.END_STREAM))
        out += [frames.frame(frames.CONTINUATION, 0, 1, piece) for piece in pieces[1:-1]]
        out.append(frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, pieces[-1]))
        peer.write(*out)

    async with serving(answer) as server:
        assert await ask(open_channel(server)) == b"x"


@pytest.mark.parametrize("name", ["Upper", "with space", "grpc-timeout", ":path", ""])
async def test_metadata_that_grpc_does_not_allow_is_refused(open_channel: Any, name: str) -> None:
    async with serving() as server:
        channel = open_channel(server)
        await ask(channel)
        with pytest.raises(ValueError, match="metadata that gRPC does not allow"):
            await ask(channel, headers={name: "x"})
        with pytest.raises(ValueError, match="'a': 'ü'"):
            await ask(channel, headers={"a": "ü"})
