"""Carries calls between grpc.aio and our RPCs; all that surrounds them is in :mod:`.rpcs`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NoReturn, cast

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status

from gateway.transport.call import Call, Pair, Reply
from gateway.transport.grpc_aio_messages import Context, MessageReader, Messages
from gateway.transport.grpc_aio_metadata import all_are_made
from gateway.transport.grpc_aio_operations import to_its_end
from gateway.transport.protection import DEFAULT_MESSAGE_S
from gateway.transport.rpc import Rpc, RpcFailed

_CERTIFICATE = "x509_pem_cert"


class GrpcAioCall(Call):
    """A call of grpc.aio."""

    __slots__ = ("_context", "_deadline", "_pairs", "_peer")

    def __init__(self, method: str, context: Context) -> None:
        super().__init__(method, time.time_ns())
        self._context: Context | None = context
        self._peer = ""
        # grpc asks the clock of the wall again each time, which may jump.
        left_s = context.time_remaining()
        self._deadline = None if left_s is None else time.monotonic() + left_s
        self._pairs: Sequence[Pair] | None = None

    def pairs(self) -> Sequence[Pair]:
        """Return all the metadata of the client."""
        if self._pairs is None:
            context = self._context
            known = context.invocation_metadata() if context is not None else None
            self._pairs = cast(Sequence[Pair], known or ())
        return self._pairs

    def certificate(self) -> bytes | None:
        """Return the client's certificate, PEM."""
        if self._context is None:
            return None
        found: Any = self._context.auth_context().get(_CERTIFICATE)
        return found[0] if found else None

    def peer(self) -> str:
        """Return the address of the client."""
        if not self._peer and self._context is not None:
            self._peer = self._context.peer()
        return self._peer

    def end(self, *, known: bool) -> None:
        """Ask grpc no more: it frees the call, and to ask it then ends the process.

        Args:
            known: Whether what can be asked is to be known later too. One that ends before its
                batch is asked when that is back.
        """
        if known:
            self.peer()
            self.pairs()
        self._context = None

    def time_remaining(self) -> float | None:
        """Return the seconds left until the client's deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


class RpcHandlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Finds for grpc the handler of a path.

    Args:
        table: The RPCs by path.
        max_metadata_count: Entries that the metadata of a call may have.
        message_s: Time that the message of a unary call has to come whole, in seconds.
        on_waste: Is called where a call leaves much behind.
    """

    def __init__(
        self,
        table: Mapping[str, Rpc],
        max_metadata_count: int,
        message_s: float = DEFAULT_MESSAGE_S,
        on_waste: Callable[[], None] = lambda: None,
    ) -> None:
        reader = MessageReader(message_s)
        self._handlers = {path: _handler(path[1:], rpc, reader) for path, rpc in table.items()}
        self._max_count = max_metadata_count
        self._on_waste = on_waste
        self._refused = grpc.stream_stream_rpc_method_handler(refuse_metadata)
        self._unknown = grpc.stream_stream_rpc_method_handler(_refuse_path)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return what grpc calls for a path."""
        all_are_made()
        metadata = handler_call_details.invocation_metadata
        if metadata is not None and len(metadata) > self._max_count:
            self._on_waste()
            return self._refused
        return self._handlers.get(handler_call_details.method, self._unknown)


def _handler(method: str, rpc: Rpc, reader: MessageReader) -> grpc.RpcMethodHandler[Any, Any]:
    if rpc.streaming:
        return grpc.stream_stream_rpc_method_handler(_stream(method, rpc.answer))
    return grpc.stream_unary_rpc_method_handler(_unary(method, rpc, reader))


def _unary(
    method: str, rpc: Rpc, reader: MessageReader
) -> Callable[[AsyncIterator[bytes], Context], Any]:
    look, handle = rpc.look, rpc.answer

    async def answer(_: AsyncIterator[bytes], context: Context) -> bytes:
        call = GrpcAioCall(method, context)
        try:
            refused = look is not None and not await look(call)
            data = b"" if refused else await reader.read(context)
            response: bytes = await handle(data, call)
        except BaseException as failed:
            call.end(known=True)
            if not isinstance(failed, RpcFailed):
                raise
            await _fail(failed.status, call, context)
        call.end(known=False)
        if call.reply is not None:
            await _send_initial(call.reply, context)
            context.set_trailing_metadata(call.reply.trailing)
        return response

    return answer


def _stream(method: str, rpc: Callable[..., Any]) -> Callable[[AsyncIterator[bytes], Context], Any]:
    # Not a generator: grpc leaves those of cancelled calls to the garbage collector.
    async def answer(_: AsyncIterator[bytes], context: Context) -> None:
        call = GrpcAioCall(method, context)
        begun = False
        try:
            async with aclosing(rpc(Messages(context), call)) as responses:
                async for response in responses:
                    if not begun:
                        begun = True
                        if call.reply is not None:
                            await _send_initial(call.reply, context)
                    await to_its_end(context.write(response))
        except BaseException as failed:
            call.end(known=True)
            if not isinstance(failed, RpcFailed):
                raise
            await _fail(failed.status, call, context)
        call.end(known=False)
        if call.reply is not None:
            if not begun:
                await _send_initial(call.reply, context)
            context.set_trailing_metadata(call.reply.trailing)

    return answer


async def refuse_metadata(data: AsyncIterator[bytes], context: Context) -> None:
    """End a call with more entries of metadata than are borne with."""
    await to_its_end(
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "The call has too much metadata.")
    )


async def _refuse_path(data: AsyncIterator[bytes], context: Context) -> None:
    """End a call to what is not there, as grpc does, but so that it leaves nothing behind."""
    await to_its_end(context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"))


async def _send_initial(reply: Reply, context: Context) -> None:
    """Send what comes before the first answer, and whether answers are compressed."""
    if reply.compress:
        context.set_compression(grpc.Compression.Gzip)
    await to_its_end(context.send_initial_metadata(reply.initial))


async def _fail(status: status_pb2.Status, call: Call, context: Context) -> NoReturn:
    """End a call with a status."""
    # Not abort_with_status: instrumentation that wraps a context does not see it.
    wire = rpc_status.to_status(status)
    trailing = call.reply.trailing if call.reply is not None else ()
    await to_its_end(context.abort(wire.code, wire.details, (*trailing, *wire.trailing_metadata)))
    raise AssertionError("abort returned")
