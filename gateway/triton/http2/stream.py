"""One call: what of its request is still to be sent, and what has come of its answer."""

from __future__ import annotations

import asyncio
import struct

from gateway.triton.http2 import errors, frames
from gateway.triton.http2.errors import CallFailed
from gateway.triton.http2.headers import ResponseHead

PREFIX = struct.Struct(">BL")
"""Before each message: whether it is compressed, and its length."""

_UNKNOWN = -1


class StreamFault(Exception):
    """A call that fails before its stream has ended.

    Args:
        failure: What the caller is told.
        error_code: What the server is told.
    """

    def __init__(self, failure: CallFailed, error_code: int = frames.PROTOCOL_ERROR) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.error_code = error_code


class Stream:
    """One call, from its request to its answer.

    Args:
        future: Of the caller.
        head: The request's header block.
        body: The request's message with its prefix.
        limit: The largest message that is taken, in bytes.
        cancels: Whether the server may be told that nobody waits any more.
    """

    __slots__ = (
        "_end",
        "_grpc_message",
        "_grpc_status",
        "_http_status",
        "_limit",
        "_received",
        "body",
        "cancels",
        "future",
        "head",
        "number",
        "sent",
        "timer",
        "window",
    )

    def __init__(
        self,
        future: asyncio.Future[bytes],
        head: bytes,
        body: bytes,
        limit: int,
        *,
        cancels: bool = True,
    ) -> None:
        self.future = future
        self.cancels = cancels
        self.head = head
        self.body = body
        self.sent = 0
        """How much of the body."""
        self.number = 0
        """0 until it is begun."""
        self.window = 0
        """How much of the body the server takes now; may be negative."""
        self.timer: asyncio.TimerHandle | None = None
        self._limit = limit
        self._received: bytes | bytearray = b""
        self._end = _UNKNOWN
        self._http_status = ""
        self._grpc_status: str | None = None
        self._grpc_message = ""

    def take_head(self, head: ResponseHead, end: bool) -> None:
        """Take headers or trailers.

        Raises:
            StreamFault: If they cannot be, or say that there will be no gRPC answer.
        """
        fault = head.fault
        if self._http_status:
            if not end or head.http_status is not None:
                fault = "headers where trailers belong"
        elif head.http_status is None:
            fault = "headers without a status"
        elif head.http_status.startswith("1"):
            if end:
                fault = "an interim response that ends"
        else:
            self._http_status = head.http_status
            if head.http_status != "200" and head.grpc_status is None:
                raise StreamFault(errors.from_http(head.http_status), frames.CANCEL)
        if fault:
            raise StreamFault(errors.internal(f"The response is broken: {fault}"))
        if end:
            self._grpc_status, self._grpc_message = head.grpc_status, head.grpc_message

    def take_data(self, payload: bytes) -> None:
        """Take a piece of the answer's message.

        Raises:
            StreamFault: If it can be no part of one.
        """
        if not self._http_status:
            raise StreamFault(errors.internal("The response is broken: data before headers"))
        if not self._received:
            self._received = payload
        else:
            if isinstance(self._received, bytes):
                self._received = bytearray(self._received)
            self._received += payload
        size = len(self._received)
        if self._end == _UNKNOWN and size >= PREFIX.size:
            compressed, length = PREFIX.unpack_from(self._received)
            if compressed:
                failure = errors.internal("The message is compressed, which was not asked for")
                raise StreamFault(failure, frames.CANCEL)
            if length > self._limit:
                raise StreamFault(errors.too_large(length, self._limit), frames.CANCEL)
            self._end = PREFIX.size + length
        if size > self._end != _UNKNOWN:
            raise StreamFault(errors.internal("More than one message came"), frames.CANCEL)

    def outcome(self) -> bytes | CallFailed:
        """Return what the stream, which has ended, brought."""
        if self._grpc_status is None:
            return errors.from_http(self._http_status)
        if self._grpc_status != "0":
            return errors.from_grpc(self._grpc_status, self._grpc_message)
        received = self._received
        if len(received) != self._end:
            return errors.internal("No whole message came")
        if isinstance(received, bytes):
            return received[PREFIX.size :]
        return bytes(memoryview(received)[PREFIX.size :])
