"""Whatever the pieces and the order in which they come, each call gets its own answer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import grpc
from h2.settings import SettingCodes
from h2_server import GRPC, OK, Peer, Request, with_prefix
from hypothesis import given
from hypothesis import strategies as st

from gateway.triton.http2.connection import Connection
from gateway.triton.http2.errors import CallFailed

Outcome = bytes | str
WINDOWS = (0, 9, 100, 65_535, 2**31 - 1)


class Wire(asyncio.Transport):
    """One end of a connection in memory; what is written waits until the test delivers it."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def take(self) -> bytes:
        data = bytes(self.written)
        self.written.clear()
        return data

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None: ...


class Link:
    """A connection and a server, side by side."""

    def __init__(self, answer: Callable[[Peer, Request], object], **how: Any) -> None:
        self.connection = Connection("server:1")
        self.peer = Peer(answer, **how)
        self.ours, self.theirs = Wire(self.connection), Wire(self.peer)
        self.connection.connection_made(self.ours)
        self.peer.connection_made(self.theirs)

    def to_server(self) -> bool:
        data = self.ours.take()
        if data:
            self.peer.data_received(data)
        return bool(data)

    def to_client(self, sizes: Callable[[int], int] = lambda left: left) -> bool:
        data = self.theirs.take()
        place = 0
        while place < len(data):
            size = sizes(len(data) - place)
            self.connection.data_received(data[place : place + size])
            place += size
        return bool(data)

    def settle(self) -> None:
        while self.to_server() | self.to_client():
            pass

    def call(self, message: bytes) -> asyncio.Future[bytes]:
        return self.connection.call("/test.Echo/Say", message, None, {})


def outcome(call: asyncio.Future[bytes]) -> Outcome:
    if call.cancelled():
        return "cancelled"
    failure = call.exception()
    if failure is None:
        return call.result()
    assert isinstance(failure, CallFailed)
    return f"{failure.code().name} {failure.details()}"


def respond_in_some_way(peer: Peer, request: Request) -> None:
    """An error, an answer in frames of a few bytes, or in one."""
    size = len(request.message)
    if size % 3 == 0:
        peer.fail(request.stream, "9", f"not {size}")
    else:
        peer.respond(request.stream, request.message, size=5 if size % 3 == 1 else 2**14)


@given(st.lists(st.binary(max_size=60), max_size=6), st.data())
def test_any_split_of_what_comes_gives_the_same_answers(
    messages: list[bytes], data: st.DataObject
) -> None:
    async def run() -> None:
        link = Link(respond_in_some_way)
        link.settle()
        calls = [link.call(message) for message in messages]
        link.to_server()
        link.to_client(lambda left: data.draw(st.integers(1, min(left, 40))))
        assert [outcome(call) for call in calls] == [
            message if len(message) % 3 else f"FAILED_PRECONDITION not {len(message)}"
            for message in messages
        ]

    asyncio.run(run())


class Script:
    """Gives the parts of each response one by one, as hypothesis wants it."""

    def __init__(self) -> None:
        self.parts: dict[int, list[Callable[[Peer], None]]] = defaultdict(list)
        self.expected: dict[bytes, Outcome] = {}
        self.draw: Callable[..., Any]

    def plan(self, peer: Peer, request: Request) -> None:
        stream, message = request.stream, request.message
        parts = self.parts[stream]
        kind = self.draw(st.sampled_from(["answer", "answer", "error", "reset", "http"]))
        if kind == "answer":
            answer = b"answer to " + message[:100]
            whole = with_prefix(answer)
            cut = self.draw(st.integers(0, len(whole)))
            parts += [
                lambda peer: peer.head(stream),
                lambda peer: peer.data(stream, whole[:cut]),
                lambda peer: peer.data(stream, whole[cut:]),
                lambda peer: peer.trailers(stream, OK),
            ]
            self.expected[message] = answer
        elif kind == "error":
            detail = "error of " + message[:8].hex()
            fields = [("grpc-status", "5"), ("grpc-message", detail)]
            parts += [
                lambda peer: peer.head(stream),
                lambda peer: peer.trailers(stream, fields),
            ]
            self.expected[message] = f"NOT_FOUND {detail}"
        elif kind == "reset":
            parts += [lambda peer: peer.head(stream), lambda peer: peer.h2.reset_stream(stream, 8)]
            self.expected[message] = "CANCELLED Received RST_STREAM with error code 8"
        else:
            fields = [(":status", "503"), *GRPC]
            parts.append(lambda peer: peer.h2.send_headers(stream, fields, end_stream=True))
            self.expected[message] = "UNAVAILABLE no gRPC status came, and the HTTP status 503"

    def go_on(self, peer: Peer, stream: int) -> None:
        part = self.parts[stream].pop(0)
        if not self.parts[stream]:
            del self.parts[stream]
        if any(number == stream for number in reset_by_client(peer)):
            self.parts.pop(stream, None)
            return
        part(peer)
        peer.flush()


def reset_by_client(peer: Peer) -> set[int]:
    return {one.stream_id for one in peer.events if type(one).__name__ == "StreamReset"}


class Story:
    """Calls over one link, and what happens to them in an order that hypothesis chooses."""

    def __init__(self, window: int, streams: int, draw: Callable[..., Any]) -> None:
        self.draw = draw
        self.script = Script()
        self.script.draw = draw
        first = {
            SettingCodes.INITIAL_WINDOW_SIZE: window,
            SettingCodes.MAX_CONCURRENT_STREAMS: streams,
        }
        self.link = Link(self.script.plan, settings=first)
        self.link.settle()
        self.calls: dict[bytes, asyncio.Future[bytes]] = {}

    async def call(self) -> None:
        message = b"%8d" % len(self.calls) * self.draw(st.sampled_from([1, 20, 200]))
        self.calls[message] = self.link.call(message)

    async def part(self) -> None:
        if self.script.parts:
            streams = st.sampled_from(sorted(self.script.parts))
            self.script.go_on(self.link.peer, self.draw(streams))

    async def cancel(self) -> None:
        if self.calls:
            self.calls[self.draw(st.sampled_from(sorted(self.calls)))].cancel()
            await asyncio.sleep(0)

    async def deliver(self) -> None:
        self.link.to_server()
        self.link.to_client(lambda left: self.draw(st.integers(1, left)))

    async def window(self) -> None:
        self._set(SettingCodes.INITIAL_WINDOW_SIZE, self.draw(st.sampled_from(WINDOWS)))

    async def streams(self) -> None:
        self._set(SettingCodes.MAX_CONCURRENT_STREAMS, self.draw(st.integers(0, 5)))

    async def pause(self) -> None:
        self.link.connection.pause_writing()

    async def resume(self) -> None:
        self.link.connection.resume_writing()

    async def end(self) -> None:
        """The server lets all through."""
        await self.resume()
        self.link.settle()
        self._set(SettingCodes.INITIAL_WINDOW_SIZE, 2**20)
        self.link.settle()
        self._set(SettingCodes.MAX_CONCURRENT_STREAMS, 100)
        self.link.settle()
        while self.script.parts:
            self.script.go_on(self.link.peer, min(self.script.parts))
            self.link.settle()

    def _set(self, name: SettingCodes, value: int) -> None:
        peer = self.link.peer
        acknowledged = sum(type(one).__name__ == "SettingsAcknowledged" for one in peer.events)
        # h2 takes one acknowledgement for all changes that wait for one.
        if acknowledged == peer.settings_sent:
            peer.settings_sent += 1
            peer.h2.update_settings({name: value})
            peer.flush()


STEPS = (Story.call, Story.call, Story.part, Story.part, Story.cancel, Story.deliver,
         Story.window, Story.streams, Story.pause, Story.resume)  # fmt: skip


@given(st.sampled_from(WINDOWS), st.sampled_from([0, 1, 2, 100]), st.data())
def test_no_answer_reaches_another_caller(window: int, streams: int, data: st.DataObject) -> None:
    async def run() -> None:
        story = Story(window, streams, data.draw)
        assert story.link.connection.open
        for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=5, max_size=25)):
            await step(story)
        await story.end()
        assert story.link.connection.open
        expected = story.script.expected
        for message, call in story.calls.items():
            assert call.done(), "a call hangs"
            assert call.cancelled() or outcome(call) == expected[message]
        assert not story.link.connection._calls.busy

    asyncio.run(run())


@given(st.binary(max_size=200), st.booleans(), st.integers(0, 3))
def test_any_bytes_from_a_server_end_in_answers_or_errors(
    noise: bytes, as_frames: bool, count: int
) -> None:
    async def run() -> None:
        link = Link(lambda peer, request: None)
        link.settle()
        calls = [link.call(b"%d" % n) for n in range(count)]
        if as_frames and len(noise) > 3:
            kind, flags, stream = noise[0] % 11, noise[1], noise[2] % 6
            size = len(noise) - 3
            noise_frame = bytes((0, 0, size, kind, flags, 0, 0, 0, stream)) + noise[3:]
            link.connection.data_received(noise_frame)
        else:
            link.connection.data_received(noise)
        link.connection.connection_lost(None)
        for call in calls:
            failure = call.exception() if call.done() else None
            assert call.done()
            assert failure is None or isinstance(failure, grpc.RpcError)
        assert link.ours.closed

    asyncio.run(run())
