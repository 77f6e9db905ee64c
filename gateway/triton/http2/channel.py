"""Connections to one server, made when they are needed and again when they are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gateway.triton.http2 import errors
from gateway.triton.http2.connection import Connection

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 0.5
"""A server that comes back is found at once; until then calls fail without a wait."""

CONNECT_TIMEOUT_S = 5.0


class Channel:
    """Unary calls to ``host:port``.

    Args:
        target: The server.
        build: Makes the protocol of a connection.
    """

    def __init__(self, target: str, build: Callable[[str], Connection] = Connection) -> None:
        self._target = target
        self._build = build
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._pause_s = FIRST_PAUSE_S
        self._again_at = 0.0
        self._closed = False

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
        """
        connection = self._connection
        if connection is not None and connection.open:
            return connection.call(path, message, timeout_s, headers)
        return self._connect_and_call(path, message, timeout_s, headers)

    async def close(self) -> None:
        """Close the connection; calls in flight fail."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.close()

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
        return await connection.call(path, message, left_s, headers)

    async def _connected(self, loop: asyncio.AbstractEventLoop) -> Connection:
        """Return an open connection; all who wait for one share the attempt."""
        if self._connection is not None and self._connection.open:
            return self._connection
        if self._closed:
            raise errors.unavailable("the channel is closed")
        if self._connecting is None:
            if loop.time() < self._again_at:
                raise errors.unavailable(f"{self._target} could not be reached a moment ago")
            self._connecting = asyncio.create_task(self._connect(loop))
        # One caller who leaves must not take the attempt from the others.
        return await asyncio.shield(self._connecting)

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Connection:
        host, _, port = self._target.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: self._build(self._target), host.strip("[]"), int(port)
                )
        except (OSError, TimeoutError) as error:
            self._again_at = loop.time() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            raise errors.unavailable(f"{self._target} cannot be reached: {error}") from None
        finally:
            self._connecting = None
        self._pause_s = FIRST_PAUSE_S
        self._connection = connection
        return connection
