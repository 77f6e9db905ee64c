"""A scripted gRPC server: the library ``h2`` on a free port, or in memory."""

from __future__ import annotations

import asyncio
import ssl as tls
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import Settings

GRPC = (("content-type", "application/grpc"),)
OK = (("grpc-status", "0"),)


def with_prefix(message: bytes, compressed: int = 0) -> bytes:
    """A message as gRPC sends it."""
    return struct.pack(">BL", compressed, len(message)) + message


@dataclass
class Request:
    """What a client has sent on one stream."""

    stream: int
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)

    @property
    def message(self) -> bytes:
        return bytes(self.body[5:])


class Peer(asyncio.Protocol):
    """One connection, from the server's side.

    Args:
        answer: Called with each whole request.
        settings: The server's first.
        greeting: Sent instead of them, raw.
        credit: Whether the client may go on as soon as its data is here.
    """

    def __init__(
        self,
        answer: Callable[[Peer, Request], object],
        *,
        settings: dict[int, int] | None = None,
        greeting: bytes | None = None,
        credit: bool = True,
    ) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        if settings is not None:
            self.h2.local_settings = Settings(client=False, initial_values=settings)
        self.requests: dict[int, Request] = {}
        self.events: list[events.Event] = []
        self.frames_sizes: list[int] = []
        self.settings_sent = 1
        self.gone = False
        self.on_made: Callable[[Peer], object] = lambda peer: None
        self.transport: Any = None
        self._muted = False
        self._answer = answer
        self._greeting = greeting
        self._credit = credit
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.on_made(self)
        if self._greeting is None:
            self.h2.initiate_connection()
            self.flush()
        else:
            self.transport.write(self._greeting)
            self.h2.initiate_connection()
            self.h2.data_to_send()
            self._muted = True

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self._take(event)
            self.events.append(event)
        self.flush()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._news.set()

    def _take(self, event: events.Event) -> None:
        if isinstance(event, events.RequestReceived):
            request = Request(event.stream_id, dict(event.headers))
            self.requests[event.stream_id] = request
        elif isinstance(event, events.DataReceived):
            self.requests[event.stream_id].body += event.data
            self.frames_sizes.append(len(event.data))
            if self._credit and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, events.StreamEnded):
            self._answer(self, self.requests[event.stream_id])

    def flush(self) -> None:
        data = b"" if self._muted else self.h2.data_to_send()
        if data:
            self.transport.write(data)

    def write(self, *raw: bytes) -> None:
        """Send bytes that ``h2`` would not; a server that did not greet says no more before."""
        self.flush()
        self.transport.write(b"".join(raw))
        self._muted = False
        self.flush()

    def head(self, stream: int, *fields: tuple[str, str], status: str = "200") -> None:
        self.h2.send_headers(stream, ((":status", status), *GRPC, *fields))

    def data(self, stream: int, data: bytes, *, end: bool = False, size: int = 2**14) -> None:
        for place in range(0, len(data), size):
            self.h2.send_data(stream, data[place : place + size])
        if end:
            self.h2.end_stream(stream)
        self.flush()

    def trailers(self, stream: int, fields: Iterable[tuple[str, str]] = OK) -> None:
        self.h2.send_headers(stream, tuple(fields), end_stream=True)
        self.flush()

    def respond(self, stream: int, message: bytes, *, size: int = 2**14) -> None:
        self.head(stream)
        self.data(stream, with_prefix(message), size=size)
        self.trailers(stream)

    def fail(self, stream: int, status: str, message: str = "") -> None:
        """Answer with trailers only."""
        fields = ((":status", "200"), *GRPC, ("grpc-status", status), ("grpc-message", message))
        self.h2.send_headers(stream, fields, end_stream=True)
        self.flush()

    async def until(self, reached: Callable[[], object]) -> None:
        """Return when something that came has brought this about."""
        async with asyncio.timeout(10):
            while not reached():
                self._news.clear()
                await self._news.wait()

    async def seen(self, kind: type[Any]) -> Any:
        """The first event of a kind, once it has come."""
        await self.until(lambda: any(isinstance(event, kind) for event in self.events))
        return next(event for event in self.events if isinstance(event, kind))


def echo(peer: Peer, request: Request) -> None:
    """Answer with the request's message."""
    peer.respond(request.stream, request.message)


def silent(peer: Peer, request: Request) -> None:
    """Answer nothing."""


class Server:
    """Where a scripted server listens, and who has come."""

    def __init__(self, build: Callable[[], Peer], peers: list[Peer]) -> None:
        self.build = build
        self.peers = peers
        self.target = ""
        self._server: asyncio.Server | None = None

    @property
    def peer(self) -> Peer:
        return self.peers[-1]

    async def start(self, port: int = 0, ssl: tls.SSLContext | None = None) -> None:
        def connected() -> Peer:
            peer = self.build()
            peer.on_made = self.peers.append
            return peer

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(connected, "127.0.0.1", port, ssl=ssl)
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Close all connections, and listen no more."""
        if self._server is not None:
            self._server.close()
            for peer in self.peers:
                peer.transport.abort()
            await self._server.wait_closed()
            for peer in self.peers:
                await peer.until(lambda peer=peer: peer.gone)
            self._server = None


@asynccontextmanager
async def serving(
    answer: Callable[[Peer, Request], object] = echo,
    *,
    ssl: tls.SSLContext | None = None,
    **how: Any,
) -> AsyncIterator[Server]:
    """A server that answers so."""
    server = Server(lambda: Peer(answer, **how), [])
    await server.start(ssl=ssl)
    try:
        yield server
    finally:
        await server.stop()
