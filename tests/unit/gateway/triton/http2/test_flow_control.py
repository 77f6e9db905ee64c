"""Bodies go out as the server's windows, its streams and the socket allow."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from h2.events import SettingsAcknowledged, StreamReset
from h2.settings import SettingCodes
from h2_server import Peer, Request, Server, echo, serving, silent

from gateway.triton.http2 import frames
from gateway.triton.http2.channel import Channel
from gateway.triton.http2.errors import CallFailed

Code = grpc.StatusCode
WINDOW, STREAMS = SettingCodes.INITIAL_WINDOW_SIZE, SettingCodes.MAX_CONCURRENT_STREAMS
FRAME = SettingCodes.MAX_FRAME_SIZE


def ask(channel: Channel, message: bytes = b"hello", **how: Any) -> asyncio.Task[bytes]:
    async def call() -> bytes:
        async with asyncio.timeout(20):
            return await channel.unary("/test.Echo/Say", message, **how)

    return asyncio.create_task(call())


async def connected(channel: Channel, server: Server) -> Peer:
    """The server's side of the channel's connection, once a first call is over."""
    assert await ask(channel, b"first") == b"first"
    return server.peer


def body(peer: Peer, stream: int) -> int:
    return len(peer.requests[stream].body) if stream in peer.requests else -1


def echo_the_first(peer: Peer, request: Request) -> None:
    if request.stream == 1:
        echo(peer, request)


@pytest.mark.parametrize("window", [1, 10, 65_535, 2**31 - 1])
async def test_no_window_is_overrun(open_channel: Any, window: int) -> None:
    # h2 ends the connection if one is.
    async with serving(settings={WINDOW: window}) as server:
        channel = open_channel(server)
        messages = [bytes((n,)) * min(50_000, 100 * window) for n in range(4)]
        calls = [ask(channel, message) for message in messages]
        assert await asyncio.gather(*calls) == messages
        assert len(server.peers) == 1


async def test_a_window_may_shrink_below_zero(open_channel: Any) -> None:
    async with serving(silent, settings={WINDOW: 1000}, credit=False) as server:
        call = ask(open_channel(server), bytes(2995))
        while not server.peers:
            await asyncio.sleep(0)
        peer = server.peer
        await peer.until(lambda: body(peer, 1) == 1000)
        peer.h2.update_settings({WINDOW: 100})
        peer.flush()
        peer.h2.increment_flow_control_window(800, 1)  # -900 + 800 is nothing yet
        peer.h2.ping(b"a ping  ")
        peer.flush()
        await peer.until(lambda: len(peer.events) and "Ping" in type(peer.events[-1]).__name__)
        assert body(peer, 1) == 1000
        peer.h2.increment_flow_control_window(150, 1)
        peer.flush()
        await peer.until(lambda: body(peer, 1) == 1050)
        peer.h2.update_settings({WINDOW: 1_000_000})
        peer.flush()
        await peer.until(lambda: body(peer, 1) == 3000)
        echo(peer, peer.requests[1])
        assert await call == bytes(2995)


@pytest.mark.parametrize("size", [2**14, 2**16, 2**20])
async def test_frames_are_as_large_as_the_server_allows(open_channel: Any, size: int) -> None:
    async with serving(settings={WINDOW: 2**21}) as server:
        channel = open_channel(server)
        peer = await connected(channel, server)
        peer.h2.update_settings({FRAME: size})
        peer.h2.increment_flow_control_window(2**21)
        peer.flush()
        await peer.until(
            lambda: sum(isinstance(one, SettingsAcknowledged) for one in peer.events) == 2
        )
        await ask(channel, bytes(2**20))
        assert max(peer.frames_sizes) == min(size, 2**18)


async def test_no_more_streams_are_open_than_allowed_and_all_get_their_turn(
    open_channel: Any,
) -> None:
    open_now: set[int] = set()

    def later(peer: Peer, request: Request) -> None:
        open_now.add(request.stream)
        assert len(open_now) <= 2

        def now() -> None:
            open_now.discard(request.stream)
            echo(peer, request)

        asyncio.get_running_loop().call_soon(now)

    async with serving(later, settings={STREAMS: 2}) as server:
        channel = open_channel(server)
        messages = [b"%d" % n for n in range(20)]
        assert await asyncio.gather(*(ask(channel, one) for one in messages)) == messages
        assert [bytes(one.message) for one in server.peer.requests.values()] == messages


async def test_calls_that_wait_for_a_stream_can_be_left_and_can_expire(open_channel: Any) -> None:
    async with serving(silent, settings={STREAMS: 1}) as server:
        channel = open_channel(server)
        first = ask(channel, b"1")
        while not server.peers or not server.peer.requests:
            await asyncio.sleep(0)
        left, late, last = (
            ask(channel, b"2"),
            ask(channel, b"3", timeout_s=0.01),
            ask(channel, b"4"),
        )
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(CallFailed) as raised:
            await late
        assert raised.value.code() is Code.DEADLINE_EXCEEDED
        echo(server.peer, server.peer.requests[1])
        assert await first == b"1"
        await server.peer.until(lambda: 3 in server.peer.requests)
        echo(server.peer, server.peer.requests[3])
        assert await last == b"4"
        assert len(server.peer.requests) == 2


async def test_the_server_may_allow_no_stream_for_a_while(open_channel: Any) -> None:
    async with serving(settings={STREAMS: 0}) as server:
        calls = [ask(open_channel(server), b"%d" % n) for n in range(1)]
        while not server.peers:
            await asyncio.sleep(0.001)
        await asyncio.wait(calls, timeout=0.01)
        peer = server.peer
        assert not peer.requests
        peer.h2.update_settings({STREAMS: 1})
        peer.flush()
        assert await asyncio.gather(*calls) == [b"0"]


async def test_an_answer_before_the_whole_request_ends_the_upload(open_channel: Any) -> None:
    def answer(peer: Peer, request: Request) -> None:
        echo(peer, request)

    async with serving(answer, settings={WINDOW: 100}, credit=False) as server:
        channel = open_channel(server)
        peer = await connected(channel, server)
        call = ask(channel, bytes(5000))
        await peer.until(lambda: body(peer, 3) == 100)
        peer.fail(3, "8", "too large")
        with pytest.raises(CallFailed, match="too large"):
            await call
        reset = await peer.seen(StreamReset)
        assert (reset.stream_id, reset.error_code) == (3, frames.CANCEL)
        assert await ask(channel) == b"hello"


@pytest.mark.parametrize(
    ("increment", "error_code"),
    [(0, frames.PROTOCOL_ERROR), (2**31 - 1, frames.FLOW_CONTROL_ERROR)],
)
async def test_a_window_of_a_stream_that_cannot_be_fails_the_call_alone(
    open_channel: Any, increment: int, error_code: int
) -> None:
    async with serving(echo_the_first) as server:
        channel = open_channel(server)
        peer = await connected(channel, server)
        call = ask(channel)
        await peer.until(lambda: body(peer, 3) > 0)
        peer.write(frames.number_frame(frames.WINDOW_UPDATE, 3, increment))
        with pytest.raises(CallFailed) as raised:
            await call
        assert raised.value.code() is Code.INTERNAL
        reset = await peer.seen(StreamReset)
        assert (reset.stream_id, reset.error_code) == (3, error_code)
        assert not peer.gone


async def test_what_the_server_does_not_read_is_not_piled_up(open_channel: Any) -> None:
    async with serving(settings={WINDOW: 2**31 - 1}, credit=False) as server:
        channel = open_channel(server)
        peer = await connected(channel, server)
        peer.h2.increment_flow_control_window(2**30)
        peer.flush()
        peer.transport.pause_reading()
        large = ask(channel, bytes(2**24))
        transport = channel._connection._transport
        while transport.get_write_buffer_size() < 2**19:
            await asyncio.sleep(0)
        for _ in range(50):  # they wait, and leave nothing behind
            small = ask(channel, bytes(2**16))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            small.cancel()
        last = ask(channel, b"last")
        await asyncio.sleep(0)
        assert transport.get_write_buffer_size() < 2**20
        peer.transport.resume_reading()
        assert await large == bytes(2**24)
        assert await last == b"last"
        assert len(peer.requests) == 3


async def test_large_bodies_share_the_connection(open_channel: Any) -> None:
    async with serving(settings={WINDOW: 2**24}) as server:
        channel = open_channel(server)
        await connected(channel, server)
        # The connection's window is the default: it is what they compete for.
        messages = [bytes((n,)) * 2**20 for n in range(3)]
        calls = [ask(channel, one) for one in messages]
        small = ask(channel, b"small")
        done, _ = await asyncio.wait([*calls, small], return_when=asyncio.FIRST_COMPLETED)
        assert small in done
        assert await asyncio.gather(*calls) == messages
