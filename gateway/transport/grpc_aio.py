"""The transport on grpc.aio: builds the server with every service."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.inference.runner import ModelRunner
from gateway.telemetry.tracing import Tracing
from gateway.transport.answering import MAX_OUTSTANDING, Answering
from gateway.transport.grpc_aio_rpc import RpcWrapper
from gateway.transport.health import DEFAULT_POLL_S, HealthFollower
from gateway.transport.model_service import ModelServicer
from gateway.transport.servicers import DiagnoseServicer, RecommendServicer, RiskServicer
from trident.diagnose.v1 import diagnose_service_pb2
from trident.model.v1 import model_service_pb2
from trident.recommend.v1 import recommend_service_pb2
from trident.risk.v1 import risk_service_pb2

DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_LAST_BYTES_S = 0.5
"""For answers that are given and not yet sent, when the server stops."""

_OPTIONS = (
    # Finds clients that vanished without a word, and lets clients do the same with us.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # Sends clients a GOAWAY now and then, so that they find replicas that came later. What is
    # in flight then, streams too, goes on to its end.
    ("grpc.max_connection_age_ms", 30 * 60_000),
)


class AddressInUse(Exception):
    """Nothing can listen at the address."""

    def __init__(self, listen: str) -> None:
        super().__init__(f"cannot listen at {listen}: the address is in use or not ours")


class GrpcServer:
    """The server; build it with :func:`build_server`.

    Attributes:
        port: Where it listens.
    """

    def __init__(
        self, server: grpc.aio.Server, health: HealthFollower, wrapper: RpcWrapper, port: int
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
        self._wrapper.drain()
        await self._health.stop()

    async def stop(self, grace_s: float) -> None:
        """Drain, wait ``grace_s`` at most for what is in flight, cancel the rest.

        Those who watch the health are told and then cut off: they would hold up every stop.
        """
        await self.drain()
        await self._wrapper.wait_idle(grace_s)
        await self._server.stop(_LAST_BYTES_S)


def build_server(
    *,
    runner: ModelRunner,
    tracing: Tracing,
    listen: str,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    max_outstanding: int = MAX_OUTSTANDING,
    health_poll_s: float = DEFAULT_POLL_S,
    reflection_enabled: bool = True,
    reuse_port: bool = False,
) -> GrpcServer:
    """Return the server with every service, not started.

    Args:
        runner: Answers.
        tracing: Starts the trace of each call.
        listen: ``host:port``; port 0 for a free one.
        max_message_bytes: The largest message either way.
        max_outstanding: Elements of one stream that are answered at a time.
        health_poll_s: How often the health follows the runner.
        reflection_enabled: Whether clients may list the services.
        reuse_port: Whether other processes may listen there too; each gets a share of the
            connections.

    Raises:
        AddressInUse: If nothing can listen there.
    """
    sizes = (
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
    )
    reuse = ("grpc.so_reuseport", int(reuse_port))  # by default two gateways would share calls
    server = grpc.aio.server(options=(*_OPTIONS, *sizes, reuse))
    wrapper = RpcWrapper(tracing)
    answering = Answering(runner, max_outstanding)
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
    health = HealthFollower(runner, health_poll_s)
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


def _service(module: Any) -> ServiceDescriptor:
    """Return the one service of a generated module."""
    (descriptor,) = module.DESCRIPTOR.services_by_name.values()
    return descriptor  # type: ignore[no-any-return]
