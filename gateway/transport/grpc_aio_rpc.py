"""What surrounds every RPC on grpc.aio: its trace, its parsing, its errors, its end.

Messages come and go as bytes: parsing happens inside the call, so that its time is seen and
a message that cannot be parsed is the caller's error, not ours. There are no interceptors
that could be forgotten or put in the wrong order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2
from grpc_status import rpc_status

from gateway.errors import InvalidRequest, ShuttingDown
from gateway.telemetry.tracing import CallTrace, Tracing
from gateway.transport.status import error_to_status

Context = grpc.aio.ServicerContext[bytes, bytes]
Parse = Callable[[bytes], Any]


class GrpcAioCall:
    """A :class:`~gateway.transport.call.Call` of grpc.aio."""

    __slots__ = ("_context", "metadata", "method", "peer", "received_ns", "trace")

    def __init__(self, method: str, context: Context, tracing: Tracing) -> None:
        self.received_ns = time.time_ns()
        self.method = method
        self.peer = context.peer()
        self._context = context
        self.metadata: Mapping[str, str] = {
            key: value
            for key, value in context.invocation_metadata() or ()
            if isinstance(value, str)
        }
        self.trace: CallTrace = tracing.start_call(
            method, self.metadata, self.peer, self.received_ns
        )

    def time_remaining(self) -> float | None:
        """Return the seconds left until the client's deadline."""
        return self._context.time_remaining()


class RpcWrapper:
    """Makes what grpc calls out of our RPCs, and knows how many calls are in flight."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._draining = False
        self._in_flight = 0
        self._idle = asyncio.Event()

    def handler(
        self, method: MethodDescriptor, rpc: Callable[..., Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return what grpc calls for a method: bytes in, bytes out."""
        name = f"{method.containing_service.full_name}/{method.name}"
        parse = _parser(GetMessageClass(method.input_type))
        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(self._stream(name, parse, rpc))
        return grpc.unary_unary_rpc_method_handler(self._unary(name, parse, rpc))

    def drain(self) -> None:
        """Refuse new calls from now on."""
        self._draining = True
        self._check_idle()

    async def wait_idle(self, timeout_s: float) -> None:
        """Wait until nothing is in flight after :meth:`drain`, ``timeout_s`` at most."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return

    def _unary(
        self, method: str, parse: Parse, rpc: Callable[..., Any]
    ) -> Callable[[bytes, Context], Any]:
        async def answer(data: bytes, context: Context) -> bytes:
            call = self._begin(method, context)
            try:
                if self._draining:
                    raise ShuttingDown
                response: bytes = (await rpc(parse(data), call)).SerializeToString()
            except asyncio.CancelledError:
                _cancelled(call)
                raise
            except Exception as error:
                await _fail(error, call, context)
            finally:
                self._end()
            call.trace.finish(code_pb2.OK)
            return response

        return answer

    def _stream(
        self, method: str, parse: Parse, rpc: Callable[..., Any]
    ) -> Callable[[AsyncIterator[bytes], Context], Any]:
        async def elements(data: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            async for one in data:
                try:
                    element = parse(one)
                except InvalidRequest as error:
                    element = error
                yield element

        # Not a generator: grpc leaves those of cancelled calls to the garbage collector.
        async def answer(data: AsyncIterator[bytes], context: Context) -> None:
            call = self._begin(method, context)
            try:
                if self._draining:
                    raise ShuttingDown
                async with aclosing(rpc(elements(data), call)) as responses:
                    async for response in responses:
                        await context.write(response.SerializeToString())
            except asyncio.CancelledError:
                _cancelled(call)
                raise
            except Exception as error:
                await _fail(error, call, context)
            finally:
                self._end()
            call.trace.finish(code_pb2.OK)

        return answer

    def _begin(self, method: str, context: Context) -> GrpcAioCall:
        call = GrpcAioCall(method, context, self._tracing)
        self._in_flight += 1
        return call

    def _end(self) -> None:
        self._in_flight -= 1
        if self._draining:
            self._check_idle()

    def _check_idle(self) -> None:
        if not self._in_flight:
            self._idle.set()


async def _fail(error: Exception, call: GrpcAioCall, context: Context) -> NoReturn:
    """End a call with the status of an error."""
    status = error_to_status(error, call.method)
    call.trace.finish(status.code, error)
    # Not abort_with_status: instrumentation that wraps a context does not see it.
    wire = rpc_status.to_status(status)
    await context.abort(wire.code, wire.details, wire.trailing_metadata)
    raise AssertionError("abort returned")


def _cancelled(call: GrpcAioCall) -> None:
    """End the trace of a call that grpc cancels: its deadline passed, or the client left."""
    expired = call.time_remaining() == 0
    call.trace.finish(code_pb2.DEADLINE_EXCEEDED if expired else code_pb2.CANCELLED)


def _parser(message_type: Any) -> Parse:
    def parse(data: bytes) -> Any:
        try:
            return message_type.FromString(data)
        except DecodeError as error:
            name = message_type.DESCRIPTOR.full_name
            raise InvalidRequest({"": f"must be a {name}, got bytes that are none"}) from error

    return parse
