"""The transport on grpc.aio: a server for every service."""

from __future__ import annotations

import grpc

from gateway.inference.runner import ModelRunner
from gateway.security.watching import Watch
from gateway.telemetry.tracing import Tracing
from gateway.transport.answering import MAX_OUTSTANDING
from gateway.transport.grpc_aio_metadata import MetadataBound
from gateway.transport.grpc_aio_rpc import RpcHandlers, refuse_metadata
from gateway.transport.grpc_aio_sweeping import MemorySweeper
from gateway.transport.grpc_tls import ServerCredentials
from gateway.transport.health import DEFAULT_POLL_S
from gateway.transport.protection import DEFAULT_MAX_MESSAGE_BYTES, Protection
from gateway.transport.services import Services, build_services

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
    # Calls that came and are not begun. By default grpc cancels some beyond 1,000, at random, and
    # their clients learn no more than that; what may wait is for admission to say.
    ("grpc.server.max_pending_requests", 10_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
)

_ENDING = 2
"""To grpc's core a call is there until our Python has let go of it, a moment after its client
knows that it has ended and begins another. Unasked, the core counts those that end among those
that a connection may have, and refuses calls of honest clients, by the thousand. So many times as
many may end as may be under way: all of a connection at once, and those that took their place. Of
what begins and is abandoned faster than that, the rest is refused."""

_UNPROTECTED = Protection()


class AddressInUse(Exception):
    """Nothing can listen at the address."""

    def __init__(self, listen: str) -> None:
        super().__init__(f"cannot listen at {listen}: the address is in use or not ours")


class GrpcServer:
    """The server; it takes calls once it is started.

    Args:
        services: What is served.
        listen: ``host:port``; port 0 for a free one.
        protection: What is asked of connections, and borne with.
        reuse_port: Whether other servers may listen there too, and share the calls.

    Attributes:
        port: Where it listens.

    Raises:
        AddressInUse: If nothing can listen there.
        UnusableFile: If a certificate cannot be used.
    """

    def __init__(
        self,
        services: Services,
        listen: str,
        *,
        protection: Protection = _UNPROTECTED,
        reuse_port: bool = False,
    ) -> None:
        self._services = services
        own = (
            ("grpc.max_receive_message_length", protection.max_message_bytes),
            ("grpc.max_send_message_length", protection.max_message_bytes),
            # Unasked, calls between the two limits are refused at random.
            ("grpc.max_metadata_size", protection.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", protection.max_metadata_bytes),
            ("grpc.max_concurrent_streams", protection.max_concurrent_streams),
            ("grpc.http2.max_deallocating_streams", _ENDING * protection.max_concurrent_streams),
            # Unasked, two gateways on one port would share calls, silently.
            ("grpc.so_reuseport", int(reuse_port)),
        )
        self._server = grpc.aio.server(options=(*_OPTIONS, *own))
        self._sweeper = MemorySweeper()
        handlers = RpcHandlers(
            services.rpcs.table,
            protection.max_metadata_count,
            protection.message_s,
            on_waste=self._sweeper.soon,
        )
        self._server.add_generic_rpc_handlers((handlers,))
        self._bound = MetadataBound(
            protection.max_metadata_count, refuse_metadata, self._sweeper.soon
        )
        self._watch = Watch(())
        try:
            if protection.tls is None:
                self.port = self._server.add_insecure_port(listen)
            else:
                tls = ServerCredentials(protection.tls)
                self.port = self._server.add_secure_port(listen, tls.credentials)
                self._watch = Watch((tls.watched,))
        except RuntimeError as error:
            raise AddressInUse(listen) from error

    async def start(self) -> None:
        """Take calls."""
        await self._services.start()
        with self._bound.holds():
            await self._server.start()
        self._watch.start()
        self._sweeper.start()

    async def drain(self) -> None:
        """Say NOT_SERVING and refuse new calls; those in flight go on."""
        await self._services.drain()

    async def stop(self, grace_s: float) -> None:
        """Drain, wait ``grace_s`` at most for what is in flight, cancel the rest.

        Those who watch the health are told and then cut off: they would hold up every stop.
        """
        await self.drain()
        await self._services.wait_idle(grace_s)
        await self._server.stop(_LAST_BYTES_S)
        await self._sweeper.stop()
        self._watch.stop()


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
        reuse_port: Whether other servers may listen there too, and share the calls.

    Raises:
        AddressInUse: If nothing can listen there.
    """
    services = build_services(
        runner,
        tracing,
        max_outstanding=max_outstanding,
        health_poll_s=health_poll_s,
        reflection_enabled=reflection_enabled,
    )
    protection = Protection(max_message_bytes=max_message_bytes)
    return GrpcServer(services, listen, protection=protection, reuse_port=reuse_port)
