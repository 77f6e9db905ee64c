"""Connections to one server, made when they are needed and again when they are lost."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Awaitable, Mapping

from gateway.triton.http2 import errors
from gateway.triton.http2.connection import Connection, Limits
from gateway.triton.http2.errors import CallFailed

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 0.5
"""A server that comes back is found at once; until then calls fail without a wait."""

CONNECT_TIMEOUT_S = 5.0
"""Until the server has shown that it speaks HTTP/2."""

_CLOSE_TIMEOUT_S = 1.0
_TLS_GOODBYE_S = 0.5
"""For the other side to say goodbye too, which some servers never do."""


class Channel:
    """Unary calls to one server.

    Args:
        target: The server, ``host:port``.
        ssl: How to speak TLS with it; its ALPN protocol becomes ``h2``. ``None``: plain text.
        limits: What is borne with.
        name: What its certificate must show; ``None``: the host of ``target``.

    Attributes:
        connections: How many were made.
        cancels: Whether the server is told how much time a call has, and if one is left.

    Raises:
        ValueError: If the target is not ``host:port``.
    """

    def __init__(
        self,
        target: str,
        *,
        ssl: tls.SSLContext | None = None,
        limits: Limits | None = None,
        name: str | None = None,
    ) -> None:
        host, _, port = target.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"a target is HOST:PORT, got {target!r}")
        self._target = target
        self._address = host.strip("[]"), int(port)
        self._name = name
        self._ssl: tls.SSLContext | None = None
        if ssl is not None:
            self.speak(ssl)
        self._limits = limits or Limits()
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection | str] | None = None
        self._pause_s = FIRST_PAUSE_S
        self._again_at = 0.0
        self._failure = ""
        self._closed = False
        self.connections = 0
        self.cancels = True

    def speak(self, ssl: tls.SSLContext) -> None:
        """Make the next connection with this; one that there is goes on as it is."""
        ssl.set_alpn_protocols(["h2"])
        self._ssl = ssl

    def unary(
        self,
        path: str,
        message: bytes,
        *,
        timeout_s: float | None = None,
        headers: Mapping[str, str] = {},
    ) -> Awaitable[bytes]:
        """Make a call and return the response's message.

        Args:
            path: ``/package.Service/Method``.
            message: The request's message.
            timeout_s: Time that the call has.
            headers: Further metadata, text.

        Raises:
            CallFailed: If the call does not end with OK.
            ValueError: If gRPC does not allow the metadata.
        """
        connection = self._connection
        if connection is not None and connection.open:
            return connection.call(path, message, timeout_s, headers, cancels=self.cancels)
        return self._connect_and_call(path, message, timeout_s, headers)

    def drop(self, why: str) -> None:
        """Close the connection, of which no answer is awaited any more; the next call makes one.

        Args:
            why: What the calls in flight fail with.
        """
        if self._connection is not None:
            self._connection.give_up(why)

    async def close(self) -> None:
        """Close the connection; calls in flight fail."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait((self._connecting,))
        if self._connection is not None:
            self._connection.close()
            await asyncio.wait((self._connection.lost,), timeout=_CLOSE_TIMEOUT_S)

    async def _connect_and_call(
        self, path: str, message: bytes, timeout_s: float | None, headers: Mapping[str, str]
    ) -> bytes:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._connected(loop)
        except TimeoutError:
            raise errors.deadline_exceeded() from None
        left_s = None if timeout_s is None else timeout_s - (loop.time() - start_s)
        return await connection.call(path, message, left_s, headers, cancels=self.cancels)

    async def _connected(self, loop: asyncio.AbstractEventLoop) -> Connection:
        """Return an open connection; all who wait for one share the attempt."""
        if self._closed:
            raise errors.unavailable("the channel is closed")
        if self._connection is not None and self._connection.open:
            return self._connection
        if self._connecting is None:
            if loop.time() < self._again_at:
                raise self._unreachable(self._failure)
            self._connecting = asyncio.create_task(self._connect(loop))
        connecting = self._connecting
        # One caller who leaves does not take the attempt from the others.
        await asyncio.wait((connecting,))
        if connecting.cancelled():
            raise errors.unavailable("the channel is closed")
        outcome = connecting.result()
        if isinstance(outcome, str):
            raise self._unreachable(outcome)
        return outcome

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Connection | str:
        """Return a connection, or why there is none."""
        scheme = "http" if self._ssl is None else "https"
        connection = Connection(self._target, scheme, self._limits)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_connection(
                    lambda: connection,
                    *self._address,
                    ssl=self._ssl,
                    server_hostname=self._name if self._ssl is not None else None,
                    ssl_shutdown_timeout=_TLS_GOODBYE_S if self._ssl is not None else None,
                )
                await connection.ready
            failure = "" if connection.open else connection.failure
        except TimeoutError:
            failure = "it does not answer"
        except OSError as error:
            failure = str(error)
        finally:
            self._connecting = None
            if not connection.open:
                connection.close()
        if failure:
            self._failure = failure
            self._again_at = loop.time() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            return failure
        self._pause_s = FIRST_PAUSE_S
        self._connection = connection
        self.connections += 1
        return connection

    def _unreachable(self, why: str) -> CallFailed:
        return errors.unavailable(f"{self._target} cannot be reached: {why}")
