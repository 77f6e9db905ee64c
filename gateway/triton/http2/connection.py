"""One HTTP/2 connection that carries unary gRPC calls, as an :class:`asyncio.Protocol`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.triton.http2 import errors, frames, headers
from gateway.triton.http2.calls import Calls
from gateway.triton.http2.errors import BrokenProtocol
from gateway.triton.http2.keepalive import Keepalive, Patience
from gateway.triton.http2.receiving import FRAME_SIZE, Receiver
from gateway.triton.http2.stream import StreamFault

_WINDOW_STEP = 2**30
"""How much may come in before the server is told that as much more may."""

_BUFFERED_BYTES = 2**19
"""How much of ours the socket may hold back before no more is given to it."""
_MOST_BUFFERED_BYTES = 2**20
"""How much a server may leave unread while it asks for more and more acknowledgements."""


@dataclass(frozen=True)
class Limits:
    """What is borne with.

    Args:
        message_bytes: The largest message of an answer; protobuf knows none larger.
        patience: With a server that is silent.
    """

    message_bytes: int = 2**31 - 1
    patience: Patience = field(default_factory=Patience)


_USUAL = Limits()


class Connection(asyncio.Protocol):
    """A connection to one server, made by ``loop.create_connection``; wait for ``ready`` then.

    Args:
        authority: What the calls name as their server.
        scheme: ``http`` or ``https``.
        limits: What is borne with.
    """

    def __init__(self, authority: str, scheme: str = "http", limits: Limits = _USUAL) -> None:
        self._loop = asyncio.get_running_loop()
        self._authority = authority
        self._scheme = scheme
        self._limits = limits
        self._heads: dict[str, bytes] = {}
        self._transport: Any = None
        self._calls = Calls(self._loop, self._write, self.close, limits.message_bytes)
        self._unreported = 0
        self._ended = False
        self._unread_bytes = 0
        """Of the acknowledgements since the server had read all."""
        self._keepalive: Keepalive | None = None
        self._receiver = Receiver(
            {
                frames.DATA: self._take_data,
                frames.HEADERS: self._take_headers,
                frames.RST_STREAM: self._take_reset,
                frames.SETTINGS: self._take_settings,
                frames.PING: self._take_ping,
                frames.GOAWAY: self._take_go_away,
                frames.WINDOW_UPDATE: self._take_window_update,
            }
        )
        self.ready: asyncio.Future[None] = self._loop.create_future()
        """Done once the server has shown that it speaks HTTP/2, or the connection has failed."""
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done once the socket is closed."""

    @property
    def open(self) -> bool:
        """Whether calls can be begun here."""
        return self._calls.open

    @property
    def failure(self) -> str:
        """Why they cannot."""
        return self._calls.failure

    def call(
        self,
        path: str,
        message: bytes,
        timeout_s: float | None,
        metadata: Mapping[str, str],
        *,
        cancels: bool = True,
    ) -> asyncio.Future[bytes]:
        """Begin a call; the future gives the response's message, or raises ``CallFailed``.

        Cancelling the future cancels the call at the server too, if ``cancels``.

        Args:
            path: ``/package.Service/Method``.
            message: The request's message.
            timeout_s: Time that the call has.
            metadata: Further metadata, text.
            cancels: Whether the server is told how much time there is, and if the call is left.

        Raises:
            ValueError: If gRPC does not allow the metadata.
        """
        head = self._heads.get(path)
        if head is None:
            head = headers.request_head(self._scheme, self._authority, path)
            self._heads[path] = head
        if timeout_s is not None:
            if timeout_s < headers.LONGEST_TIMEOUT_S:
                head += headers.timeout_field(timeout_s) if cancels else b""
            else:
                timeout_s = None
        if metadata:
            head += headers.metadata_fields(metadata)
        return self._calls.start(head, message, timeout_s, cancels=cancels)

    def close(self) -> None:
        """End the connection; calls in flight fail."""
        self._end("the connection was closed", frames.NO_ERROR)

    def give_up(self, failure: str) -> None:
        """End the connection without a word: the server does not listen.

        Args:
            failure: What the calls in flight fail with.
        """
        self._end(failure)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello, and that as much as can be may be sent to us."""
        self._transport = transport
        if self._ended:
            self._transport.abort()
            return
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self._end("the server does not offer HTTP/2 over TLS")
            return
        self._transport.set_write_buffer_limits(_BUFFERED_BYTES)
        self._write(
            frames.PREFACE
            + frames.settings_frame(
                {
                    frames.SETTINGS_HEADER_TABLE_SIZE: 0,
                    frames.SETTINGS_ENABLE_PUSH: 0,
                    frames.SETTINGS_INITIAL_WINDOW_SIZE: frames.LARGEST_NUMBER,
                    frames.SETTINGS_MAX_FRAME_SIZE: FRAME_SIZE,
                    frames.SETTINGS_MAX_HEADER_LIST_SIZE: headers.MOST_BYTES,
                }
            )
            + frames.number_frame(
                frames.WINDOW_UPDATE, 0, frames.LARGEST_NUMBER - frames.DEFAULT_WINDOW
            )
        )
        self._keepalive = Keepalive(
            self._loop,
            self._limits.patience,
            busy=lambda: self._calls.busy,
            ping=lambda: self._write(frames.frame(frames.PING, 0, 0, bytes(8))),
            give_up=lambda: self._end("the server does not answer pings"),
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is in flight."""
        self._end(f"the connection was lost: {exc or 'the server closed it'}")
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        """Give the socket no more."""
        self._calls.sender.paused = True

    def resume_writing(self) -> None:
        """Send what had to wait."""
        self._calls.sender.paused = False
        if not self._ended:
            self._calls.pump()

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if self._keepalive is not None:
            self._keepalive.heard = True
        try:
            self._receiver.receive(data)
        except BrokenProtocol as error:
            self._end(f"what the server sent is not HTTP/2: {error}", error.error_code)

    # What comes in.

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        self._unreported += len(payload)
        if self._unreported >= _WINDOW_STEP:
            self._write(frames.number_frame(frames.WINDOW_UPDATE, 0, self._unreported))
            self._unreported = 0
        if flags & frames.PADDED:
            payload = frames.without_padding(flags & frames.PADDED, payload)
        stream = self._calls.find(number)
        if stream is None:
            return
        try:
            stream.take_data(payload)
        except StreamFault as fault:
            self._calls.fail(stream, fault)
        else:
            if flags & frames.END_STREAM:
                self._calls.over(stream, stream.outcome())

    def _take_headers(self, flags: int, number: int, block: bytes) -> None:
        stream = self._calls.find(number)
        if stream is None:
            return
        end = bool(flags & frames.END_STREAM)
        if self._keepalive is not None:
            self._keepalive.pings = 0
        try:
            stream.take_head(headers.response_head(block), end)
        except headers.TooManyHeaders as error:
            failure = errors.too_many_headers(str(error))
            self._calls.over(stream, failure, None if end else frames.CANCEL)
        except StreamFault as fault:
            self._calls.fail(stream, fault)
        else:
            if end:
                self._calls.over(stream, stream.outcome())

    def _take_reset(self, flags: int, number: int, payload: bytes) -> None:
        stream = self._calls.find(number)
        if stream is not None:
            self._calls.reset(stream, frames.number_of(payload))

    def _take_settings(self, flags: int, number: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        for name, value in frames.settings_of(payload):
            if name == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                self._calls.change_windows(value)
            elif name == frames.SETTINGS_MAX_FRAME_SIZE:
                self._calls.sender.frame_size = value
            elif name == frames.SETTINGS_MAX_CONCURRENT_STREAMS:
                self._calls.max_streams = value
        self._acknowledge(frames.frame(frames.SETTINGS, frames.ACK, 0))
        if not self.ready.done():
            self._calls.open = True
            self.ready.set_result(None)
        self._calls.pump()

    def _take_ping(self, flags: int, number: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self._acknowledge(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _take_go_away(self, flags: int, number: int, payload: bytes) -> None:
        last, code = frames.number_of(payload) & frames.LARGEST_NUMBER, frames.number_of(payload, 4)
        self._calls.stop_new(f"the server goes away (HTTP/2 error {code})", last)

    def _take_window_update(self, flags: int, number: int, payload: bytes) -> None:
        increment = frames.number_of(payload) & frames.LARGEST_NUMBER
        if number == 0:
            self._calls.sender.widen(increment)
        elif (stream := self._calls.find(number)) is not None:
            try:
                self._calls.sender.widen_stream(stream, increment)
            except StreamFault as fault:
                self._calls.fail(stream, fault)
        self._calls.pump()

    # What goes out.

    def _write(self, data: bytes) -> None:
        if not self._ended and self._transport is not None:
            self._transport.write(data)

    def _acknowledge(self, frame: bytes) -> None:
        if self._ended:
            return
        if not self._transport.get_write_buffer_size():
            self._unread_bytes = 0
        self._write(frame)
        self._unread_bytes += len(frame)  # not the whole buffer: a large request may be in it
        if self._unread_bytes > _MOST_BUFFERED_BYTES:
            raise BrokenProtocol(frames.ENHANCE_YOUR_CALM, "more questions than it reads answers")

    def _end(self, failure: str, error_code: int | None = None) -> None:
        """Close the socket, and fail all calls.

        Args:
            failure: What the callers are told.
            error_code: What the server is told; ``None``: nothing, it does not listen.
        """
        if self._ended:
            return
        if error_code is not None:
            self._write(frames.go_away_frame(error_code))
        self._ended = self._receiver.stopped = True
        if self._transport is None:
            self.lost.set_result(None)
        elif error_code is None or self._calls.sender.paused:
            self._transport.abort()
        else:
            self._transport.close()
        if self._keepalive is not None:
            self._keepalive.stop()
        self._calls.end(failure)
        if not self.ready.done():
            self.ready.set_result(None)
