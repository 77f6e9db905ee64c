"""What ends a connection, and what becomes of its calls."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import grpc
import pytest
from h2.events import ConnectionTerminated, PingAckReceived
from h2_server import Peer, Request, Server, echo, serving, silent

from gateway.triton.http2 import frames
from gateway.triton.http2.channel import Channel
from gateway.triton.http2.connection import Limits
from gateway.triton.http2.errors import CallFailed
from gateway.triton.http2.keepalive import Patience

Code = grpc.StatusCode


def ask(channel: Channel, message: bytes = b"hello", **how: Any) -> asyncio.Task[bytes]:
    async def call() -> bytes:
        async with asyncio.timeout(20):
            return await channel.unary("/test.Echo/Say", message, **how)

    return asyncio.create_task(call())


async def failure(call: asyncio.Task[bytes]) -> tuple[Code, str]:
    with pytest.raises(CallFailed) as raised:
        await call
    return raised.value.code(), raised.value.details()


async def in_flight(channel: Channel, server: Server, count: int) -> list[asyncio.Task[bytes]]:
    """So many calls that the server has seen."""
    calls = [ask(channel, b"%d" % n) for n in range(count)]
    while not server.peers:
        await asyncio.sleep(0)
    await server.peer.until(lambda: len(server.peer.requests) == count)
    return calls


def setting(name: int, value: int) -> bytes:
    return frames.settings_frame({name: value})


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return frames.frame(kind, flags, stream, payload)


BROKEN = {
    "frame larger than allowed": (frame(frames.DATA, 1, bytes(2**14 + 1)), 6),
    "DATA on no stream": (frame(frames.DATA, 0), 1),
    "DATA on a stream never begun": (frame(frames.DATA, 99), 1),
    "DATA on a stream of the server's": (frame(frames.DATA, 2), 1),
    "HEADERS on no stream": (frame(frames.HEADERS, 0, b"\x88", frames.END_HEADERS), 1),
    "HEADERS on a stream never begun": (frame(frames.HEADERS, 99, b"\x88", 4), 1),
    "padding larger than its frame": (frame(frames.DATA, 1, b"\5abcd", frames.PADDED), 1),
    "padding without its length": (frame(frames.DATA, 1, b"", frames.PADDED), 1),
    "priority cut off": (frame(frames.HEADERS, 1, b"\0\0\0\0", frames.PRIORITY_FLAG | 4), 1),
    "PRIORITY of a wrong size": (frame(frames.PRIORITY, 1, bytes(4)), 6),
    "RST_STREAM of a wrong size": (frame(frames.RST_STREAM, 1, bytes(3)), 6),
    "RST_STREAM on no stream": (frame(frames.RST_STREAM, 0, bytes(4)), 1),
    "RST_STREAM on a stream never begun": (frame(frames.RST_STREAM, 99, bytes(4)), 1),
    "SETTINGS of a wrong size": (frame(frames.SETTINGS, 0, bytes(5)), 6),
    "SETTINGS on a stream": (frame(frames.SETTINGS, 1), 1),
    "SETTINGS acknowledged with more": (frame(frames.SETTINGS, 0, bytes(6), frames.ACK), 6),
    "push switched on": (setting(frames.SETTINGS_ENABLE_PUSH, 1), 1),
    "initial window too large": (setting(frames.SETTINGS_INITIAL_WINDOW_SIZE, 2**31), 3),
    "largest frame too small": (setting(frames.SETTINGS_MAX_FRAME_SIZE, 2**14 - 1), 1),
    "largest frame too large": (setting(frames.SETTINGS_MAX_FRAME_SIZE, 2**24), 1),
    "PUSH_PROMISE": (frame(frames.PUSH_PROMISE, 1, bytes(4), frames.END_HEADERS), 1),
    "PING of a wrong size": (frame(frames.PING, 0, bytes(7)), 6),
    "PING on a stream": (frame(frames.PING, 1, bytes(8)), 1),
    "GOAWAY of a wrong size": (frame(frames.GOAWAY, 0, bytes(7)), 6),
    "GOAWAY on a stream": (frame(frames.GOAWAY, 1, bytes(8)), 1),
    "WINDOW_UPDATE of a wrong size": (frame(frames.WINDOW_UPDATE, 1, bytes(5)), 6),
    "window of a stream never begun": (frame(frames.WINDOW_UPDATE, 99, b"\0\0\0\1"), 1),
    "window wider by nothing": (frame(frames.WINDOW_UPDATE, 0, bytes(4)), 1),
    "window too wide": (frame(frames.WINDOW_UPDATE, 0, b"\x7f\xff\xff\xff"), 3),
    "windows too wide by settings": (
        frame(frames.WINDOW_UPDATE, 1, struct.pack(">L", 2**31 - 2**17))
        + setting(frames.SETTINGS_INITIAL_WINDOW_SIZE, 2**31 - 1),
        3,
    ),
    "CONTINUATION of nothing": (frame(frames.CONTINUATION, 1, b"\x88", 4), 1),
    "CONTINUATION on another stream": (
        frame(frames.HEADERS, 1, b"\x88") + frame(frames.CONTINUATION, 3, b"", 4),
        1,
    ),
    "headers broken off": (frame(frames.HEADERS, 1, b"\x88") + frame(frames.PING, 0, bytes(8)), 1),
    "headers broken off by an unknown frame": (
        frame(frames.HEADERS, 1, b"\x88") + frame(0xAA, 1),
        1,
    ),
    "endless empty CONTINUATIONs": (
        frame(frames.HEADERS, 1, b"\x88") + frame(frames.CONTINUATION, 1) * 64,
        11,
    ),
    "headers without an end": (
        frame(frames.HEADERS, 1, b"\x88") + frame(frames.CONTINUATION, 1, b"\x88" * 2**14) * 17,
        11,
    ),
    "a table that was forbidden": (frame(frames.HEADERS, 1, b"\x3f\xe1\x1f\x88", 4), 9),
    "a table entry that is not": (frame(frames.HEADERS, 1, b"\xbe", 4), 9),
    "an entry that was never remembered": (
        frame(frames.HEADERS, 1, b"\x88\x40\1a\1b\xbe", 4),
        9,
    ),
    "headers cut off": (frame(frames.HEADERS, 1, b"\x88\0\5ab", 4), 9),
    "a number without an end": (frame(frames.HEADERS, 1, b"\xff" * 12, 4), 9),
}


@pytest.mark.parametrize(("sent", "error_code"), BROKEN.values(), ids=BROKEN)
async def test_what_is_not_http2_ends_the_connection_and_its_calls(
    open_channel: Any, sent: bytes, error_code: int
) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        (call,) = await in_flight(channel, server, 1)
        broken = server.peer
        broken.write(sent)
        code, details = await failure(call)
        assert code is Code.UNAVAILABLE
        assert details.startswith("what the server sent is not HTTP/2: ")
        goodbye = await broken.seen(ConnectionTerminated)
        assert goodbye.error_code == error_code
        await broken.until(lambda: broken.gone)
        again = ask(channel)
        while len(server.peers) < 2:
            await asyncio.sleep(0)
        await server.peer.until(lambda: server.peer.requests)
        echo(server.peer, server.peer.requests[1])
        assert await again == b"hello"


@pytest.mark.parametrize(
    "harmless",
    [
        frame(0xAA, 0, b"unknown"),
        frame(0xAA, 77, b"unknown"),
        frame(frames.SETTINGS, 0, b"", frames.ACK),
        frame(frames.PING, 0, bytes(8), frames.ACK),
        frame(frames.DATA, 1, b"late"),
        frame(frames.HEADERS, 1, b"\x88", frames.END_HEADERS),
        frame(frames.RST_STREAM, 1, bytes(4)),
        frame(frames.WINDOW_UPDATE, 1, b"\0\0\0\1"),
        setting(0x99, 7),
        setting(frames.SETTINGS_HEADER_TABLE_SIZE, 0),
    ],
)
async def test_what_is_late_or_unknown_is_passed_over(open_channel: Any, harmless: bytes) -> None:
    async with serving() as server:
        channel = open_channel(server)
        assert await ask(channel) == b"hello"
        server.peer.write(harmless)
        assert [await ask(channel) for _ in range(3)] == [b"hello"] * 3
        assert len(server.peers) == 1


async def test_a_server_that_forbids_a_table_understands_our_headers(open_channel: Any) -> None:
    async with serving(settings={1: 0}) as server:
        channel = open_channel(server)
        assert [await ask(channel) for _ in range(3)] == [b"hello"] * 3
        assert len(server.peers) == 1


async def test_calls_that_the_server_has_not_seen_fail_when_it_goes_away(
    open_channel: Any,
) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        calls = await in_flight(channel, server, 4)
        old = server.peer
        old.write(frame(frames.GOAWAY, 0, struct.pack(">LL", 3, frames.NO_ERROR)))
        for call in calls[2:]:
            assert await failure(call) == (
                Code.UNAVAILABLE,
                "the server goes away (HTTP/2 error 0)",
            )
        new = ask(channel, b"new")
        while len(server.peers) < 2:
            await asyncio.sleep(0)
        await server.peer.until(lambda: server.peer.requests)
        echo(server.peer, server.peer.requests[1])
        assert await new == b"new"
        assert not old.gone
        for stream in (1, 3):
            echo(old, old.requests[stream])
        assert await asyncio.gather(*calls[:2]) == [b"0", b"1"]
        await old.until(lambda: old.gone)


async def test_a_server_may_say_twice_that_it_goes_away(open_channel: Any) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        calls = await in_flight(channel, server, 2)
        peer = server.peer
        peer.write(frame(frames.GOAWAY, 0, struct.pack(">LL", 2**31 - 1, 0)))
        peer.write(frame(frames.GOAWAY, 0, struct.pack(">LL", 1, 0)))
        assert (await failure(calls[1]))[0] is Code.UNAVAILABLE
        echo(peer, peer.requests[1])
        assert await calls[0] == b"0"


async def test_calls_that_wait_for_a_stream_fail_when_the_server_goes_away(
    open_channel: Any,
) -> None:
    async with serving(silent, settings={3: 1}) as server:
        channel = open_channel(server)
        (call,) = await in_flight(channel, server, 1)
        waiting = ask(channel)
        await asyncio.sleep(0)
        server.peer.write(frame(frames.GOAWAY, 0, struct.pack(">LL", 2**31 - 1, 0)))
        assert (await failure(waiting))[0] is Code.UNAVAILABLE
        echo(server.peer, server.peer.requests[1])
        assert await call == b"0"


async def test_pings_are_answered(open_channel: Any) -> None:
    async with serving() as server:
        await ask(open_channel(server))
        server.peer.h2.ping(b"12345678")
        server.peer.flush()
        assert (await server.peer.seen(PingAckReceived)).ping_data == b"12345678"


async def test_a_server_that_asks_and_does_not_read_is_left(open_channel: Any) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        (call,) = await in_flight(channel, server, 1)
        peer = server.peer
        peer.transport.pause_reading()
        pings = frame(frames.PING, 0, bytes(8)) * 10_000
        while not call.done():
            peer.write(pings)
            await asyncio.sleep(0)
        assert "more questions than it reads answers" in (await failure(call))[1]


async def test_a_large_request_on_its_way_is_not_taken_for_unread_answers(
    open_channel: Any,
) -> None:
    async with serving(silent, settings={4: 2**30, 5: 2**24 - 1}) as server:
        channel = open_channel(server)
        await in_flight(channel, server, 1)
        peer = server.peer
        peer.write(frames.number_frame(frames.WINDOW_UPDATE, 0, 2**30))
        await asyncio.sleep(0.01)
        peer.transport.pause_reading()
        large = ask(channel, bytes(16_000_000))
        for _ in range(3):
            peer.write(frame(frames.PING, 0, b"12345678"))
            await asyncio.sleep(0.01)
        assert not large.done()
        large.cancel()


async def test_a_connection_that_is_lost_fails_its_calls_and_the_next_call_makes_one(
    open_channel: Any,
) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        calls = await in_flight(channel, server, 3)
        server.peer.transport.abort()
        failures = [await failure(call) for call in calls]
        assert {code for code, _ in failures} == {Code.UNAVAILABLE}
        assert len({id(call.exception()) for call in calls}) == 3
        again = await_second(channel, server)
        assert await again == b"hello"


async def await_second(channel: Channel, server: Server) -> bytes:
    call = ask(channel)
    while len(server.peers) < 2:
        await asyncio.sleep(0)
    await server.peer.until(lambda: server.peer.requests)
    echo(server.peer, server.peer.requests[1])
    return await call


async def test_when_stream_numbers_run_out_another_connection_is_made(open_channel: Any) -> None:
    async with serving() as server:
        channel = open_channel(server)
        await ask(channel)
        channel._connection._calls._next_number = 2**31 - 3  # as after a thousand million calls
        answers = await asyncio.gather(*(ask(channel, b"%d" % n) for n in range(4)))
        assert answers == [b"0", b"1", b"2", b"3"]
        first, second = server.peers
        assert list(first.requests) == [1, 2**31 - 3, 2**31 - 1]
        assert list(second.requests) == [1, 3]
        await first.until(lambda: first.gone)


async def test_a_silent_server_that_answers_pings_is_waited_for(open_channel: Any) -> None:
    limits = Limits(patience=Patience(silence_s=0.01, answer_s=5))
    async with serving(silent) as server:
        channel = open_channel(server, limits=limits)
        (call,) = await in_flight(channel, server, 1)
        peer = server.peer
        await peer.until(lambda: sum("Ping" in type(one).__name__ for one in peer.events) == 1)
        echo(peer, peer.requests[1])
        assert await call == b"0"


async def test_a_server_that_is_dead_is_given_up(open_channel: Any) -> None:
    limits = Limits(patience=Patience(silence_s=0.01, answer_s=0.01))
    async with serving(silent) as server:
        channel = open_channel(server, limits=limits)
        calls = await in_flight(channel, server, 2)
        server.peer.transport.pause_reading()
        for call in calls:
            assert await failure(call) == (
                Code.UNAVAILABLE,
                "the server does not answer pings",
            )


def immediately(peer: Peer, request: Request) -> None:
    echo(peer, request)
    peer.write(frame(frames.GOAWAY, 0, struct.pack(">LL", request.stream, 0)))


async def test_an_answer_and_a_farewell_in_one_breath_are_both_taken(open_channel: Any) -> None:
    async with serving(immediately) as server:
        channel = open_channel(server)
        assert [await ask(channel, b"%d" % n) for n in range(3)] == [b"0", b"1", b"2"]
        assert len(server.peers) == 3
