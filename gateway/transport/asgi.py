"""The gRPC protocol over ASGI, for a server that can send HTTP/2 trailers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from google.rpc import code_pb2, status_pb2

from gateway.transport.asgi_call import AsgiCall, Receive, Scope, Send, Watch
from gateway.transport.asgi_stream import MessageReader, MessageWriter
from gateway.transport.grpc_wire import (
    CONTENT_TYPES,
    ENCODINGS,
    HEADER_BYTES,
    Deframer,
    Headers,
    Packed,
    encode_metadata,
    encode_status,
    failure,
    frame,
    too_large,
    unpacked,
)
from gateway.transport.protection import DEFAULT_MESSAGE_S
from gateway.transport.rpc import LATE, Rpc, RpcFailed

_CONTENT_TYPE = (b"content-type", b"application/grpc")
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [_CONTENT_TYPE],
    "trailers": True,
}
_OK: Headers = [(b"grpc-status", b"0")]
_TRAILERS_OK = {"type": "http.response.trailers", "headers": _OK}
_EXPIRED = encode_status(
    status_pb2.Status(code=code_pb2.DEADLINE_EXCEEDED, message="The deadline passed.")
)
_LATE = encode_status(LATE)
_CANCELLED = encode_status(
    status_pb2.Status(code=code_pb2.CANCELLED, message="The server cancelled the call.")
)


class GrpcOverAsgi:
    """Answers gRPC calls.

    Args:
        table: The RPCs by path; it may be filled later.
        max_message_bytes: The largest message either way.
        message_s: Time that a message has to come whole.
    """

    def __init__(
        self,
        table: Mapping[str, Rpc],
        max_message_bytes: int,
        message_s: float = DEFAULT_MESSAGE_S,
    ) -> None:
        self._table = table
        self._max_bytes = max_message_bytes
        self._message_s = message_s
        self._watch = Watch(self._expire)
        self._expiring: set[asyncio.Task[None]] = set()

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, or refuse a request that is none."""
        call = AsgiCall(scope, receive, send)
        if call.headers.get(b"content-type") not in CONTENT_TYPES or scope["method"] != "POST":
            await _refuse(send)
            return
        try:
            rpc = self._table.get(scope["path"])
            if rpc is None:
                raise failure(code_pb2.UNIMPLEMENTED, f"There is no method {scope['path']}.")
            call.start_clock()
            self._watch.add(call)
            refused = rpc.look is not None and not await rpc.look(call)
            if call.task is not None:  # else the deadline passed meanwhile
                await (self._stream if rpc.streaming else self._unary)(rpc, call, refused)
        except RpcFailed as failed:
            await _end(call, encode_status(failed.status))
        except asyncio.CancelledError:
            if not call.is_gone:
                await _end(call, _cancelled(call))
        finally:
            call.task = None

    async def close(self) -> None:
        """Cancel the calls that are left, such as those that watch something."""
        ours = GrpcOverAsgi.answer.__code__
        # Found among all tasks, not kept in a set that each call would have to pay for.
        left = [task for task in asyncio.all_tasks() if _code_of(task) is ours]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _unary(self, rpc: Rpc, call: AsgiCall, refused: bool) -> None:
        message = b"" if refused else await self._only_message(call)
        if message is None or call.task is None:
            return
        call.waiting_for_body = False
        answer = await rpc.answer(message, call)
        self._check_size(answer)
        send = call.send
        if call.reply is None:
            await send(_START)
            body = b"\0" + len(answer).to_bytes(4, "big") + answer
            await send({"type": "http.response.body", "body": body, "more_body": False})
            await send(_TRAILERS_OK)
        else:
            compress = await _start(call)
            await _finish(call, frame(answer, compress), _OK)

    async def _only_message(self, call: AsgiCall) -> bytes | None:
        """Return the message of a unary call; nothing if the client goes before it is there."""
        call.message_due = time.monotonic() + self._message_s
        event = await call.receive()
        body: bytes = event.get("body", b"")
        size = len(body) - HEADER_BYTES
        whole = not event.get("more_body", True)
        if (
            whole and body[:1] == b"\0" and int.from_bytes(body[1:HEADER_BYTES], "big") == size
            and size <= self._max_bytes
        ):  # fmt: skip
            call.request_ended = True
            call.message_due = None
            return body[HEADER_BYTES:]
        deframer = self._deframer(call)
        messages: list[bytes | Packed] = []
        while event["type"] == "http.request":
            messages += deframer.feed(event["body"])
            if not event["more_body"]:
                call.request_ended = True
                call.message_due = None
                if len(messages) != 1 or not deframer.is_empty:
                    text = f"One message was expected, and {len(messages)} came."
                    raise failure(code_pb2.UNIMPLEMENTED, text)
                return await unpacked(messages[0])
            event = await call.receive()
        return None

    async def _stream(self, rpc: Rpc, call: AsgiCall, refused: bool) -> None:
        call.waiting_for_body = False
        messages = (
            _nothing() if refused else MessageReader(call, self._deframer(call), self._message_s)
        )
        writer: MessageWriter | None = None
        trailers = _OK
        compress = False
        try:
            async with aclosing(rpc.answer(messages, call)) as answers:
                async for answer in answers:
                    self._check_size(answer)
                    if writer is None:
                        compress = await _start(call)
                        writer = MessageWriter(call.send)
                    if writer.write(frame(answer, compress)):
                        await writer.room()
        except RpcFailed as failed:
            trailers = encode_status(failed.status)
        except asyncio.CancelledError:
            if call.is_gone:
                raise
            trailers = _cancelled(call)
        if writer is not None:
            await _finish(call, await writer.rest(), trailers)
        elif trailers is _OK:
            await _start(call)
            await _finish(call, b"", trailers)
        else:
            await _end(call, trailers)

    def _deframer(self, call: AsgiCall) -> Deframer:
        return Deframer(call.headers.get(b"grpc-encoding", b""), self._max_bytes)

    def _check_size(self, answer: bytes) -> None:
        if len(answer) > self._max_bytes:
            raise too_large(len(answer), self._max_bytes)

    def _expire(self, call: AsgiCall) -> None:
        """End a call that waits for its request; its task ends when the server hears of it."""
        call.task = None
        ending = asyncio.ensure_future(_end(call, _cancelled(call)))
        self._expiring.add(ending)
        ending.add_done_callback(self._expired)

    def _expired(self, ending: asyncio.Task[None]) -> None:
        self._expiring.discard(ending)
        if not ending.cancelled():
            ending.exception()  # the client has gone too


async def _nothing() -> AsyncGenerator[bytes]:
    """Give no message."""
    messages: tuple[bytes, ...] = ()
    for message in messages:
        yield message


def _cancelled(call: AsgiCall) -> Headers:
    """Return why a call was cancelled whose client is there."""
    if call.is_expired:
        return _EXPIRED
    return _LATE if call.is_late else _CANCELLED


def _code_of(task: asyncio.Task[Any]) -> object:
    return getattr(task.get_coro(), "cr_code", None)


async def _start(call: AsgiCall) -> bool:
    """Send the headers; return whether answers are compressed."""
    if call.reply is None:
        await call.send(_START)
        return False
    accepted = call.headers.get(b"grpc-accept-encoding", b"")
    compress = call.reply.compress and b"gzip" in accepted.replace(b" ", b"").split(b",")
    headers = [_CONTENT_TYPE, *encode_metadata(call.reply.initial)]
    if compress:
        headers.append((b"grpc-encoding", b"gzip"))
    await call.send({**_START, "headers": headers})
    return compress


async def _finish(call: AsgiCall, body: bytes, trailers: Headers) -> None:
    """Send the last of the answers, and the trailers."""
    if call.reply is not None:
        trailers = [*trailers, *encode_metadata(call.reply.trailing)]
    await call.send({"type": "http.response.body", "body": body, "more_body": False})
    await call.send({"type": "http.response.trailers", "headers": trailers})


async def _end(call: AsgiCall, trailers: Headers) -> None:
    """End a call that has no answer: trailers only, in the place of headers."""
    headers = [_CONTENT_TYPE, (b"grpc-accept-encoding", ENCODINGS), *trailers]
    if call.reply is not None:
        headers += encode_metadata([*call.reply.initial, *call.reply.trailing])
    await call.send({"type": "http.response.start", "status": 200, "headers": headers})
    await call.send({"type": "http.response.body", "body": b"", "more_body": False})


async def _refuse(send: Send) -> None:
    """Refuse what is no gRPC."""
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 415, "headers": headers})
    body = b"Only gRPC is spoken here: POST with content-type application/grpc.\n"
    await send({"type": "http.response.body", "body": body, "more_body": False})
