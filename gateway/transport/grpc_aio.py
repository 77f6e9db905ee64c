"""The transport on grpc.aio.

Messages come and go as bytes: parsing happens inside the call, so that its time is seen and
a message that cannot be parsed is the caller's error, not ours. One wrapper surrounds every
RPC; there are no interceptors that could be forgotten or put in the wrong order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from trident.diagnose.v1 import diagnose_service_pb2
from trident.model.v1 import model_service_pb2
from trident.recommend.v1 import recommend_service_pb2
from trident.risk.v1 import risk_service_pb2

from gateway.errors import InvalidRequest, ShuttingDown
from gateway.inference.runner import ModelRunner
from gateway.telemetry.tracing import CallTrace, Tracing
from gateway.transport.answering import Answering
from gateway.transport.health import HealthFollower
from gateway.transport.model_service import ModelServicer
from gateway.transport.servicers import DiagnoseServicer, RecommendServicer, RiskServicer
from gateway.transport.status import error_to_status

Context = grpc.aio.ServicerContext[bytes, bytes]
DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class AddressInUse(Exception):
    """Nothing can listen at the address."""

    def __init__(self, listen: str) -> None:
        super().__init__(f"cannot listen at {listen}: the address is in use or not ours")


class GrpcAioCall:
    """A :class:`~gateway.transport.call.Call` of grpc.aio."""

    __slots__ = ("_context", "metadata", "method", "received_ns", "trace")

    def __init__(self, method: str, context: Context, tracing: Tracing) -> None:
        self.received_ns = time.time_ns()
        self.method = method
        self._context = context
        self.metadata: Mapping[str, str] = {
            key: value
            for key, value in context.invocation_metadata() or ()
            if isinstance(value, str)
        }
        self.trace: CallTrace = tracing.start_call(
            method, self.metadata, context.peer(), self.received_ns
        )

    @property
    def peer(self) -> str:
        """The address of the client."""
        return self._context.peer()

    def time_remaining(self) -> float | None:
        """Return the seconds left until the client's deadline."""
        return self._context.time_remaining()


class GrpcServer:
    """The running server; build it with :func:`build_server`."""

    def __init__(
        self, server: grpc.aio.Server, health: HealthFollower, wrapper: _Wrapper, port: int
    ) -> None:
        self._server = server
        self._health = health
        self._wrapper = wrapper
        self.port = port

    async def start(self) -> None:
        """Take calls."""
        await self._health.start()
        await self._server.start()

    async def drain(self) -> None:
        """Say NOT_SERVING and refuse new calls; those in flight go on."""
        self._wrapper.draining = True
        await self._health.stop()

    async def stop(self, grace_s: float) -> None:
        """Drain, wait ``grace_s`` at most for what is in flight, cancel the rest."""
        await self.drain()
        await self._server.stop(grace_s)


def build_server(
    *,
    runner: ModelRunner,
    tracing: Tracing,
    listen: str,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    reflection_enabled: bool = True,
) -> GrpcServer:
    """Return the server with every service, not started.

    Args:
        runner: Answers.
        tracing: Starts the trace of each call.
        listen: ``host:port``; port 0 for a free one.
        max_message_bytes: The largest message either way.
        reflection_enabled: Whether clients may list the services.

    Raises:
        AddressInUse: If nothing can listen there.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.so_reuseport", 0),  # two gateways on one port would share calls, silently
        ]
    )
    wrapper = _Wrapper(tracing)
    answering = Answering(runner)
    services: list[tuple[ServiceDescriptor, object]] = [
        (_service(recommend_service_pb2), RecommendServicer(answering)),
        (_service(diagnose_service_pb2), DiagnoseServicer(answering)),
        (_service(risk_service_pb2), RiskServicer(answering)),
        (_service(model_service_pb2), ModelServicer(runner)),
    ]
    for descriptor, servicer in services:
        handlers = {
            method.name: wrapper.handler(method, getattr(servicer, method.name))
            for method in descriptor.methods
        }
        generic = grpc.method_handlers_generic_handler(descriptor.full_name, handlers)
        server.add_generic_rpc_handlers((generic,))
    health = HealthFollower(runner)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    if reflection_enabled:
        names = [descriptor.full_name for descriptor, _ in services]
        names += [_service(health_pb2).full_name, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, server)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise AddressInUse(listen) from error
    return GrpcServer(server, health, wrapper, port)


class _Wrapper:
    """Surrounds every RPC: trace, parsing, errors."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self.draining = False

    def handler(
        self, method: MethodDescriptor, rpc: Callable[..., Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return what grpc calls for a method: bytes in, bytes out."""
        name = f"{method.containing_service.full_name}/{method.name}"
        parse = _parser(GetMessageClass(method.input_type))
        if method.client_streaming:
            stream = self._stream(name, parse, rpc)
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(self._unary(name, parse, rpc))

    def _unary(
        self, method: str, parse: Callable[[bytes], Any], rpc: Callable[..., Any]
    ) -> Callable[[bytes, Context], Any]:
        async def answer(data: bytes, context: Context) -> bytes:
            call = GrpcAioCall(method, context, self._tracing)
            try:
                if self.draining:
                    raise ShuttingDown
                response: bytes = (await rpc(parse(data), call)).SerializeToString()
            except asyncio.CancelledError:
                call.trace.finish(code_pb2.CANCELLED)
                raise
            except Exception as error:
                await _fail(error, call, context)
            call.trace.finish(code_pb2.OK)
            return response

        return answer

    def _stream(
        self, method: str, parse: Callable[[bytes], Any], rpc: Callable[..., Any]
    ) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]:
        async def elements(data: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            async for one in data:
                try:
                    yield parse(one)
                except InvalidRequest as error:
                    yield error

        async def answer(data: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            call = GrpcAioCall(method, context, self._tracing)
            try:
                if self.draining:
                    raise ShuttingDown
                async for response in rpc(elements(data), call):
                    yield response.SerializeToString()
            except (asyncio.CancelledError, GeneratorExit):
                call.trace.finish(code_pb2.CANCELLED)
                raise
            except Exception as error:
                await _fail(error, call, context)
            call.trace.finish(code_pb2.OK)

        return answer


async def _fail(error: Exception, call: GrpcAioCall, context: Context) -> NoReturn:
    """End a call with the status of an error."""
    status = error_to_status(error, call.method)
    call.trace.finish(status.code, error)
    # Not abort_with_status: instrumentation that wraps a context does not see it.
    wire = rpc_status.to_status(status)
    await context.abort(wire.code, wire.details, wire.trailing_metadata)
    raise AssertionError("abort returned")


def _parser(message_type: Any) -> Callable[[bytes], Any]:
    def parse(data: bytes) -> Any:
        try:
            return message_type.FromString(data)
        except DecodeError as error:
            name = message_type.DESCRIPTOR.full_name
            raise InvalidRequest({"": f"must be a {name}, got bytes that are none"}) from error

    return parse


def _service(module: Any) -> ServiceDescriptor:
    """Return the one service of a generated module."""
    (descriptor,) = module.DESCRIPTOR.services_by_name.values()
    return descriptor  # type: ignore[no-any-return]
