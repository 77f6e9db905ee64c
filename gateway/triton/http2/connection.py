"""One HTTP/2 connection that carries unary gRPC calls, as an :class:`asyncio.Protocol`."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from hpack import Decoder, HPACKError

from gateway.triton.http2 import errors, frames
from gateway.triton.http2.errors import CallFailed

KEEPALIVE_S = 20.0
"""With calls in flight and nothing heard for so long, the server is asked whether it is there."""

KEEPALIVE_TIMEOUT_S = 5.0
"""Time that it has to answer that."""

_MESSAGE = struct.Struct(">BL")  # compressed or not, length
_LAST_STREAM = 2**31 - 1
_WINDOW_STEP = 2**30
"""How much may come in before the server is told that as much more may."""

_MAX_KNOWN_BLOCKS = 64


class _Stream:
    """One call, from its request to its answer."""

    __slots__ = ("body", "future", "head", "headers", "number", "received", "timer", "window")

    def __init__(self, future: asyncio.Future[bytes], head: bytes, body: bytes) -> None:
        self.future = future
        self.head = head
        self.body = memoryview(body)
        """What is not sent yet."""
        self.number = 0
        """Of the stream; 0 until it is begun."""
        self.window = 0
        self.received = b""
        self.headers: dict[str, str] = {}
        self.timer: asyncio.TimerHandle | None = None


class Connection(asyncio.Protocol):
    """A connection to one server, made by ``loop.create_connection``.

    Args:
        authority: What the calls name as their server.
        keepalive_s: How long silence is taken for work.
        keepalive_timeout_s: How long an answer to a ping may take.
    """

    def __init__(
        self,
        authority: str,
        keepalive_s: float = KEEPALIVE_S,
        keepalive_timeout_s: float = KEEPALIVE_TIMEOUT_S,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._keepalive_s = keepalive_s
        self._keepalive_timeout_s = keepalive_timeout_s
        # POST and http have places in HPACK's static table.
        self._common = b"\x83\x86" + frames.literal_headers(
            {
                ":authority": authority,
                "te": "trailers",
                "content-type": "application/grpc",
                "user-agent": "trident-gateway",
            }
        )
        self._heads: dict[str, bytes] = {}
        self._transport: Any = None
        self._streams: dict[int, _Stream] = {}
        self._waiting: deque[_Stream] = deque()
        self._next_number = 1
        self._open = False
        self._failure = errors.unavailable("the connection is not made yet")
        self._rest = b""
        self._block: tuple[int, int, bytes] | None = None
        self._decoder = Decoder()
        self._decoder.header_table_size = 0
        self._known_blocks: dict[bytes, dict[str, str]] = {}
        self._window = self._stream_window = frames.DEFAULT_WINDOW
        self._frame_size = frames.DEFAULT_FRAME_SIZE
        self._max_streams = _LAST_STREAM
        self._unreported = 0
        self._heard = True
        self._pinged = False
        self._keeper: asyncio.TimerHandle | None = None
        self._takers: dict[int, Callable[[int, int, bytes], None]] = {
            frames.CONTINUATION: self._continuation,
            frames.RST_STREAM: self._reset,
            frames.SETTINGS: self._settings,
            frames.PING: self._ping,
            frames.GOAWAY: self._go_away,
            frames.WINDOW_UPDATE: self._more_window,
        }

    @property
    def open(self) -> bool:
        """Whether calls can be begun here."""
        return self._open

    def call(
        self, path: str, message: bytes, timeout_s: float | None, headers: Mapping[str, str]
    ) -> asyncio.Future[bytes]:
        """Begin a call; the future gives the response's message, or raises ``CallFailed``.

        Cancelling the future cancels the call at the server too.

        Args:
            path: ``/package.Service/Method``.
            message: The request's message.
            timeout_s: Time that the call has; the server is told.
            headers: Further metadata, text.
        """
        future: asyncio.Future[bytes] = self._loop.create_future()
        if not self._open:
            future.set_exception(self._failure)
            return future
        head = self._head(path)
        if timeout_s is not None:
            head += frames.literal_headers({"grpc-timeout": _timeout(timeout_s)})
        if headers:
            head += frames.literal_headers(headers)
        stream = _Stream(future, head, _MESSAGE.pack(0, len(message)) + message)
        if timeout_s is not None:
            stream.timer = self._loop.call_later(timeout_s, self._expire, stream)
        future.add_done_callback(lambda done: self._forsake(stream))
        if len(self._streams) < self._max_streams:
            self._begin(stream)
        else:
            self._waiting.append(stream)
        return future

    def close(self, failure: CallFailed | None = None) -> None:
        """End the connection; calls in flight fail."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames.frame(frames.GOAWAY, 0, 0, bytes(8)))
            self._transport.close()
        self._end(failure or errors.unavailable("the connection was closed"))

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello, and that as much as can be may be sent to us."""
        self._transport = transport
        self._transport.write(
            frames.PREFACE
            + frames.settings_frame(
                {
                    # Without a table, equal blocks of headers mean the same: see _headers.
                    frames.SETTINGS_HEADER_TABLE_SIZE: 0,
                    frames.SETTINGS_ENABLE_PUSH: 0,
                    frames.SETTINGS_INITIAL_WINDOW_SIZE: frames.LARGEST_WINDOW,
                }
            )
            + frames.number_frame(
                frames.WINDOW_UPDATE, 0, frames.LARGEST_WINDOW - frames.DEFAULT_WINDOW
            )
        )
        self._open = True
        self._keeper = self._loop.call_later(self._keepalive_s, self._keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is in flight."""
        self._end(errors.unavailable(f"the connection was lost: {exc or 'the server closed it'}"))

    def data_received(self, data: bytes) -> None:
        """Take the frames that are whole, keep the rest."""
        self._heard = True
        if self._rest:
            data = self._rest + data
        place, end = 0, len(data)
        try:
            while end - place >= frames.HEADER_BYTES:
                size, kind, flags, number = frames.head_of(data, place)
                start = place + frames.HEADER_BYTES
                if size > frames.DEFAULT_FRAME_SIZE:
                    raise ValueError(f"a frame of {size} bytes, more than was allowed")
                if start + size > end:
                    break
                place = start + size
                self._frame(kind, flags, number, data[start:place])
        except (ValueError, HPACKError) as error:
            self.close(errors.unavailable(f"what the server sent is not HTTP/2: {error}"))
            return
        self._rest = data[place:]

    # What comes in.

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None and kind != frames.CONTINUATION:
            raise ValueError("a block of headers that is broken off")
        if kind == frames.DATA:
            self._data(flags, number, payload)
        elif kind == frames.HEADERS:
            self._block_part(flags, number, flags, frames.without_padding(flags, payload))
        # RFC 9113 §5.5: what is not known is passed over.
        elif (take := self._takers.get(kind)) is not None:
            take(flags, number, payload)

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != number:
            raise ValueError("a continuation of nothing")
        self._block_part(flags, number, self._block[1], self._block[2] + payload)

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if flags & frames.ACK:
            self._pinged = False
        else:
            self._transport.write(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        self._unreported += len(payload)
        if self._unreported >= _WINDOW_STEP:
            update = frames.number_frame(frames.WINDOW_UPDATE, 0, self._unreported)
            self._transport.write(update)
            self._unreported = 0
        stream = self._streams.get(number)
        if stream is None:
            return
        if flags & frames.PADDED:
            payload = frames.without_padding(flags & frames.PADDED, payload)
        stream.received = stream.received + payload if stream.received else payload
        if flags & frames.END_STREAM:
            self._answered(stream)

    def _block_part(self, flags: int, number: int, first_flags: int, block: bytes) -> None:
        if flags & frames.END_HEADERS:
            self._block = None
            self._headers(number, first_flags, block)
        else:
            self._block = (number, first_flags, block)

    def _headers(self, number: int, flags: int, block: bytes) -> None:
        headers = self._known_blocks.get(block)
        if headers is None:
            headers = {str(name): str(value) for name, value in self._decoder.decode(block)}
            # What a block means depends on nothing else as long as no table is kept.
            if not self._decoder.header_table.dynamic_entries:
                if len(self._known_blocks) >= _MAX_KNOWN_BLOCKS:
                    self._known_blocks.clear()
                self._known_blocks[block] = headers
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.headers = {**stream.headers, **headers} if stream.headers else headers
        if flags & frames.END_STREAM:
            self._answered(stream)

    def _answered(self, stream: _Stream) -> None:
        failure = errors.from_headers(stream.headers)
        received = stream.received
        if failure is None:
            if len(received) < _MESSAGE.size:
                failure = CallFailed(grpc.StatusCode.INTERNAL, "no message came")
            else:
                compressed, size = _MESSAGE.unpack_from(received)
                if compressed or size != len(received) - _MESSAGE.size:
                    failure = CallFailed(grpc.StatusCode.INTERNAL, "no whole message came")
        self._finish(stream, failure)

    def _reset(self, flags: int, number: int, payload: bytes) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            self._finish(stream, errors.reset(frames.number_of(payload)))

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        for name, value in frames.settings_of(payload):
            if name == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                change = value - self._stream_window
                self._stream_window = value
                for stream in self._streams.values():
                    stream.window += change
            elif name == frames.SETTINGS_MAX_FRAME_SIZE:
                self._frame_size = value
            elif name == frames.SETTINGS_MAX_CONCURRENT_STREAMS:
                self._max_streams = value
        self._transport.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._begin_waiting()
        self._send_blocked()

    def _more_window(self, flags: int, number: int, payload: bytes) -> None:
        size = frames.number_of(payload) & _LAST_STREAM
        if number == 0:
            self._window += size
            self._send_blocked()
        elif (stream := self._streams.get(number)) is not None:
            stream.window += size
            if stream.body:
                self._send_body(stream, b"")

    def _go_away(self, flags: int, number: int, payload: bytes) -> None:
        """Begin no more calls; fail those that the server has not seen."""
        last = frames.number_of(payload) & _LAST_STREAM
        self._open = False
        self._failure = errors.unavailable("the server goes away")
        unseen = [stream for number, stream in self._streams.items() if number > last]
        for stream in (*unseen, *self._waiting):
            self._finish(stream, self._failure)
        self._waiting.clear()
        self._close_if_idle()

    # What goes out.

    def _head(self, path: str) -> bytes:
        head = self._heads.get(path)
        if head is None:
            head = self._heads[path] = self._common + frames.literal_headers({":path": path})
        return head

    def _begin(self, stream: _Stream) -> None:
        stream.number = self._next_number
        stream.window = self._stream_window
        self._streams[stream.number] = stream
        self._next_number += 2
        if self._next_number > _LAST_STREAM - 2:
            self._open = False  # the next call finds a new connection
        head = frames.header_frames(stream.number, stream.head, self._frame_size)
        self._send_body(stream, head)

    def _send_body(self, stream: _Stream, before: bytes) -> None:
        """Send as much as the server takes now; the rest waits for its word."""
        out = [before]
        while stream.body:
            size = min(len(stream.body), self._frame_size, self._window, stream.window)
            if size <= 0:
                break
            last = size == len(stream.body)
            flags = frames.END_STREAM if last else 0
            out.append(frames.frame(frames.DATA, flags, stream.number, bytes(stream.body[:size])))
            stream.body = stream.body[size:]
            self._window -= size
            stream.window -= size
        self._transport.write(b"".join(out))

    def _send_blocked(self) -> None:
        for stream in list(self._streams.values()):
            if self._window <= 0:
                return
            if stream.body and stream.window > 0:
                self._send_body(stream, b"")

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._streams) < self._max_streams:
            self._begin(self._waiting.popleft())

    # How calls end.

    def _expire(self, stream: _Stream) -> None:
        self._abandon(stream)
        self._finish(stream, errors.deadline_exceeded())

    def _forsake(self, stream: _Stream) -> None:
        """Tell the server that nobody waits any more, if that is why a call is over."""
        if stream.future.cancelled():
            self._abandon(stream)
            self._finish(stream, None)

    def _abandon(self, stream: _Stream) -> None:
        if stream.number in self._streams:
            reset = frames.number_frame(frames.RST_STREAM, stream.number, frames.CANCEL)
            self._transport.write(reset)
        elif stream in self._waiting:
            self._waiting.remove(stream)

    def _finish(self, stream: _Stream, failure: CallFailed | None) -> None:
        """Give a call its answer, or its failure; it is over."""
        self._streams.pop(stream.number, None)
        if stream.timer is not None:
            stream.timer.cancel()
        if not stream.future.done():
            if failure is None:
                stream.future.set_result(stream.received[_MESSAGE.size :])
            else:
                stream.future.set_exception(failure)
        if self._waiting:
            self._begin_waiting()
        if not self._open:
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if not self._streams and not self._waiting:
            self.close()

    def _end(self, failure: CallFailed) -> None:
        if self._open or self._streams or self._waiting:
            self._open = False
            self._failure = failure
        streams = [*self._streams.values(), *self._waiting]
        self._streams.clear()
        self._waiting.clear()
        for stream in streams:
            if stream.timer is not None:
                stream.timer.cancel()
            if not stream.future.done():
                stream.future.set_exception(failure)
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None

    def _keep_alive(self) -> None:
        """Ask a silent server that owes us answers whether it is there; give up on a dead one."""
        pause_s = self._keepalive_s
        if self._pinged:
            self._transport.abort()
            self._end(errors.unavailable("the server does not answer pings"))
            return
        if self._streams and not self._heard:
            self._pinged = True
            self._transport.write(frames.frame(frames.PING, 0, 0, bytes(8)))
            pause_s = self._keepalive_timeout_s
        self._heard = False
        self._keeper = self._loop.call_later(pause_s, self._keep_alive)


def _timeout(timeout_s: float) -> str:
    """Return a time as ``grpc-timeout`` writes it: at most 8 digits and a unit."""
    microseconds = max(1, int(timeout_s * 1e6))
    return f"{microseconds}u" if microseconds < 10**8 else f"{min(int(timeout_s), 10**8 - 1)}S"
