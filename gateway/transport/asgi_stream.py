"""The two directions of a stream over ASGI: messages out of events, events out of messages."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator

from gateway.transport.asgi_call import AsgiCall, Event, Send
from gateway.transport.grpc_wire import Deframer, Packed, unpacked
from gateway.transport.rpc import RpcFailed

READ_AHEAD = 64
"""Messages that are taken from the server before somebody wants them."""
READ_AHEAD_BYTES = 1024 * 1024
WRITE_BYTES = 64 * 1024
"""Answers that are gathered while the server takes the last ones."""


class MessageReader(AsyncIterator[bytes]):
    """The messages of a request, in whatever chunks they come.

    It asks for more whenever there is room, so that it also hears when the client goes: then
    it cancels the call's task.

    Args:
        call: Whose request it is.
        deframer: Takes the chunks apart.
        message_s: Time that each has to come whole, in seconds; between two, it may take any.
    """

    def __init__(self, call: AsgiCall, deframer: Deframer, message_s: float) -> None:
        self._call = call
        self._message_s = message_s
        self._deframer = deframer
        self._messages: deque[bytes | Packed] = deque()
        self._size = 0
        self._failure: RpcFailed | None = None
        self._asking = False
        self._waiter: asyncio.Future[None] | None = None
        self._ask()

    async def __anext__(self) -> bytes:
        while not self._messages:
            if self._failure is not None:
                raise self._failure
            if self._call.request_ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        message = self._messages.popleft()
        self._size -= len(message)
        self._ask()
        return message if isinstance(message, bytes) else await unpacked(message)

    def _ask(self) -> None:
        full = len(self._messages) >= READ_AHEAD or self._size >= READ_AHEAD_BYTES
        if full or self._call.request_ended or self._deframer.is_empty:
            self._call.message_due = None  # none is coming, or it is us who do not read
        elif self._call.message_due is None:
            self._call.message_due = time.monotonic() + self._message_s
        if not (full or self._asking or self._call.request_ended or self._failure):
            self._asking = True
            self._call.receive().add_done_callback(self._received)

    def _received(self, received: Event) -> None:
        self._asking = False
        event = received.result()
        if event["type"] == "http.disconnect":
            self._call.leave()
            return
        self._call.request_ended = not event["more_body"]
        try:
            messages = self._deframer.feed(event["body"])
            self._messages.extend(messages)
            self._size += sum(map(len, messages))
            if messages:
                self._call.message_due = None  # another one may have begun
        except RpcFailed as failure:
            self._failure = failure
        self._ask()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class MessageWriter:
    """Sends frames, all those together that come while the server takes the last ones."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._frames: list[bytes] = []
        self._size = 0
        self._sending: asyncio.Future[None] | None = None
        self._flush_is_due = False

    def write(self, frame: bytes) -> bool:
        """Take a frame; return whether to wait for :meth:`room` before the next."""
        self._frames.append(frame)
        self._size += len(frame)
        if not self._flush_is_due and self._sending is None:
            self._flush_is_due = True
            asyncio.get_running_loop().call_soon(self._flush)
        return self._size >= WRITE_BYTES

    async def room(self) -> None:
        """Wait until the server has taken what was sent, and send what waits."""
        await self._taken()
        self._flush()

    async def rest(self) -> bytes:
        """Wait until the server has taken what was sent; give what was not, to be sent last."""
        while self._sending is not None:
            await self._taken()
        frames, self._frames, self._size = self._frames, [], 0
        return b"".join(frames)

    async def _taken(self) -> None:
        sending = self._sending
        if sending is not None:
            await asyncio.shield(sending)  # the server would find its future cancelled
            if sending is self._sending:  # else it was replaced when it was done
                self._sending = None

    def _flush(self) -> None:
        """Send what waits, unless the server has yet to take the last."""
        if not self._frames or self._sending is not None:
            return
        self._flush_is_due = False
        body = self._frames[0] if len(self._frames) == 1 else b"".join(self._frames)
        self._frames, self._size = [], 0
        event = {"type": "http.response.body", "body": body, "more_body": True}
        self._sending = asyncio.ensure_future(self._send(event))
        self._sending.add_done_callback(self._sent)

    def _sent(self, sending: asyncio.Future[None]) -> None:
        # It may have been waited for, and replaced, before this is called. An error stays, and is
        # raised where somebody waits.
        if sending is self._sending and not sending.cancelled() and sending.exception() is None:
            self._sending = None
            self._flush()
