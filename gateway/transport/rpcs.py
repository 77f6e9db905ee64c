"""What surrounds every RPC, whichever transport it came by: bytes in, bytes out.

An RPC's trace, its parsing, its errors and its end are here, so that no transport can forget
one. Messages come and go as bytes: parsing happens inside the call, so that its time is seen
and a message that cannot be parsed is the caller's error, not ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2

from gateway.errors import GatewayError, InvalidRequest, ShuttingDown
from gateway.telemetry.tracing import Tracing, recorded
from gateway.telemetry.undecided import Undecided
from gateway.transport.auditing import Auditing
from gateway.transport.call import Call
from gateway.transport.guarding import Guard
from gateway.transport.rpc import Handler, Rpc, RpcFailed, code_of_cancelled
from gateway.transport.status import error_to_status

HandlerT = TypeVar("HandlerT", bound=Handler)
Parse = Callable[[bytes], Any]
Serialize = Callable[[Any], bytes]

_IN_BYTES = "trident_in_bytes"


def in_bytes(handler: HandlerT) -> HandlerT:
    """Mark a handler that takes and gives serialised messages: it parses for itself."""
    setattr(handler, _IN_BYTES, True)
    return handler


class Rpcs:
    """The RPCs of a server, by path, and how many calls of them are in flight.

    Args:
        tracing: Starts the trace of each call.
        guard: Says who calls, where calls must say so. Without it no call pays for that.
        auditing: Writes calls down. Without it no call pays for that.

    Attributes:
        table: By ``/package.Service/Method``.
    """

    def __init__(
        self, tracing: Tracing, guard: Guard | None = None, auditing: Auditing | None = None
    ) -> None:
        self.table: dict[str, Rpc] = {}
        self._tracing = tracing
        self._guard = guard
        self._auditing = auditing
        self._draining = False
        self._in_flight = 0
        self._idle = asyncio.Event()

    def add_service(
        self,
        service: ServiceDescriptor,
        servicer: object,
        *,
        infrastructure: bool = False,
        open_to_all: bool = False,
    ) -> None:
        """Serve every method of a service.

        Args:
            service: Which methods there are, and of which kinds.
            servicer: Has a handler of each method's name: ``handler(request, call)``, with an
                iterator for the request where the client streams; a coroutine, or an iterator
                where the server streams. Messages, or bytes if it is marked :func:`in_bytes`.
            infrastructure: Whether calls are neither traced nor counted, nor written down, nor
                refused while draining; whoever says who it is may make them.
            open_to_all: Whether nobody has to say who it is.
        """
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            handler = getattr(servicer, method.name)
            permission = None if infrastructure else path[1:]
            guard = None if open_to_all or self._guard is None else (self._guard, permission)
            rpc = self._rpc(path[1:], method, handler, infrastructure, guard)
            if self._auditing is not None and not infrastructure:
                rpc = self._auditing.of(path[1:], method, rpc)
            self.table[path] = rpc

    @property
    def in_flight(self) -> int:
        """Calls that are being answered."""
        return self._in_flight

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

    def _rpc(
        self,
        name: str,
        method: MethodDescriptor,
        handler: Handler,
        infrastructure: bool,
        guard: tuple[Guard, str | None] | None,
    ) -> Rpc:
        parse, serialize = _codec(method, handler)
        look = guard[0].look(guard[1]) if guard is not None else None
        if not method.client_streaming and not method.server_streaming:
            surround = _plain_unary if infrastructure else self._unary
            if guard is not None:  # before the message is parsed
                handler, parse = guard[0].unary(parse, handler, guard[1]), bytes
            return Rpc(False, surround(name, parse, handler, serialize), look)
        if not method.client_streaming:
            handler = _from_one(handler)
        if not method.server_streaming:
            handler = _to_one(handler)
        if method.client_streaming:
            parse = _parser_of_elements(parse)
        surround = _plain_stream if infrastructure else self._stream
        if guard is not None:
            handler = guard[0].stream(partial(_parsed, parse=parse), handler, guard[1])
            parse = bytes
        return Rpc(True, surround(name, parse, handler, serialize), look)

    def _unary(self, name: str, parse: Parse, handler: Handler, serialize: Serialize) -> Handler:
        start_call = self._tracing.start_single

        async def answer(data: bytes, call: Call) -> bytes:
            call.trace = start_call(call)
            self._in_flight += 1
            try:
                if self._draining:
                    raise ShuttingDown
                response = serialize(await handler(parse(data), call))
            except asyncio.CancelledError:
                recorded(call).finish(code_of_cancelled(call))
                raise
            except Exception as error:
                failed = _failed(error, name)
                recorded(call).finish(failed.status.code, error, fault=_is_surprise(error))
                try:
                    raise failed from error
                finally:
                    del failed  # it holds this frame: only the garbage collector would free the two
            finally:
                self._end()
            trace = call.trace  # its record may have begun meanwhile
            if isinstance(trace, Undecided):
                trace.ended_well(call)
            else:
                trace.finish(code_pb2.OK)
            return response

        return answer

    def _stream(self, name: str, parse: Parse, handler: Handler, serialize: Serialize) -> Handler:
        start_call = self._tracing.start_call

        async def answer(data: AsyncIterator[bytes], call: Call) -> AsyncGenerator[bytes]:
            trace = call.trace = start_call(call)
            self._in_flight += 1
            try:
                if self._draining:
                    raise ShuttingDown
                async with aclosing(handler(_parsed(data, parse), call)) as responses:
                    async for response in responses:
                        yield serialize(response)
            except (asyncio.CancelledError, GeneratorExit):
                trace.finish(code_of_cancelled(call))
                raise
            except Exception as error:
                failed = _failed(error, name)
                trace.finish(failed.status.code, error, fault=_is_surprise(error))
                try:
                    raise failed from error
                finally:
                    del failed  # it holds this frame: only the garbage collector would free the two
            finally:
                self._end()
            trace.finish(code_pb2.OK)

        return answer

    def _end(self) -> None:
        self._in_flight -= 1
        if self._draining:
            self._check_idle()

    def _check_idle(self) -> None:
        if not self._in_flight:
            self._idle.set()


def _plain_unary(name: str, parse: Parse, handler: Handler, serialize: Serialize) -> Handler:
    async def answer(data: bytes, call: Call) -> bytes:
        try:
            return serialize(await handler(parse(data), call))
        except Exception as error:
            raise _failed(error, name) from error

    return answer


def _plain_stream(name: str, parse: Parse, handler: Handler, serialize: Serialize) -> Handler:
    async def answer(data: AsyncIterator[bytes], call: Call) -> AsyncGenerator[bytes]:
        try:
            async with aclosing(handler(_parsed(data, parse), call)) as responses:
                async for response in responses:
                    yield serialize(response)
        except Exception as error:
            raise _failed(error, name) from error

    return answer


def _failed(error: Exception, name: str) -> RpcFailed:
    return error if isinstance(error, RpcFailed) else RpcFailed(error_to_status(error, name))


def _is_surprise(error: Exception) -> bool:
    return not isinstance(error, GatewayError | RpcFailed)


async def _parsed(data: AsyncIterator[bytes], parse: Parse) -> AsyncGenerator[Any]:
    async for one in data:
        yield parse(one)


def _from_one(handler: Handler) -> Handler:
    """Make a streaming handler of one that takes a single message."""

    async def answer(requests: AsyncIterator[Any], call: Call) -> AsyncGenerator[Any]:
        first = await anext(requests, None)
        if first is None:
            text = "One message was expected, and none came."
            raise RpcFailed(status_pb2.Status(code=code_pb2.UNIMPLEMENTED, message=text))
        async with aclosing(handler(first, call)) as responses:
            async for response in responses:
                yield response

    return answer


def _to_one(handler: Handler) -> Handler:
    """Make a streaming handler of one that gives a single message."""

    async def answer(requests: AsyncIterator[Any], call: Call) -> AsyncGenerator[Any]:
        yield await handler(requests, call)

    return answer


def _codec(method: MethodDescriptor, handler: Handler) -> tuple[Parse, Serialize]:
    if getattr(handler, _IN_BYTES, False):
        return bytes, bytes
    serialize: Serialize = GetMessageClass(method.output_type).SerializeToString
    return parser(GetMessageClass(method.input_type)), serialize


def parser(message_type: Any) -> Parse:
    """Return what parses a message, and takes bytes that are none for the caller's error."""
    from_string = message_type.FromString

    def parse(data: bytes) -> Any:
        try:
            return from_string(data)
        except DecodeError as error:
            name = message_type.DESCRIPTOR.full_name
            raise InvalidRequest({"": f"must be a {name}, got bytes that are none"}) from error

    return parse


def _parser_of_elements(parse: Parse) -> Parse:
    """Return what gives the error of an element that cannot be parsed: it ends no stream."""

    def parse_element(data: bytes) -> Any:
        try:
            return parse(data)
        except InvalidRequest as error:
            return error

    return parse_element
