"""Lets calls through to their handlers once it is known who makes them, and that they may."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from gateway.errors import PermissionDenied
from gateway.security.client import Client
from gateway.telemetry.metrics.instruments import REFUSED_CREDENTIALS
from gateway.telemetry.metrics.readings import Reading
from gateway.telemetry.tracing import recorded
from gateway.transport.call import CLIENT, Call
from gateway.transport.rpc import Look

if TYPE_CHECKING:  # what checks tokens is for gateways only that are given any
    from gateway.security.authentication import Authenticator

LOOK_AGAIN_S = 5.0
"""How long a stream goes on, at most, with credentials that hold no more."""


class Guard:
    """Stands before handlers. Who is refused costs no parsing.

    Args:
        authenticator: Tells who calls.
    """

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def use(self, authenticator: Authenticator) -> None:
        """Let another one tell who calls from now on."""
        authenticator.take_over(self._authenticator)
        self._authenticator = authenticator

    def readings(self) -> Iterator[Reading]:
        """Yield how many calls were refused."""
        yield Reading(REFUSED_CREDENTIALS, (), self._authenticator.refused_calls)

    def look(self, method: str | None) -> Look:
        """Return what looks at a call's headers, before anything of its messages is read.

        What it finds stays with the call: its handler does not look again.

        Args:
            method: As for :meth:`unary`.
        """

        async def look(call: Call) -> bool:
            authenticator = self._authenticator
            try:
                client = authenticator.client(call)
                if client is None:
                    client = await authenticator.client_with_new_keys(call)
            except Exception as error:  # the handler raises it, where it is traced and said
                call.verdict = error
                return False
            call.verdict = client
            return method is None or method in client.methods

        return look

    def unary(self, parse: Any, handler: Any, method: str | None) -> Any:
        """Return a handler of bytes that only lets through who may call.

        Args:
            parse: Makes the message of the bytes.
            handler: Takes the message.
            method: What must be permitted; ``None``: whoever says who it is may call.
        """

        async def guarded(data: bytes, call: Call) -> Any:
            if not self._admit(call, method):
                await self._admit_later(call, method)
            return await handler(parse(data), call)

        return guarded

    def stream(self, parsed: Any, handler: Any, method: str | None) -> Any:
        """Return a handler of streams that only lets through who may call.

        Args:
            parsed: Makes messages of an iterator of bytes.
            handler: Takes the messages, gives an iterator.
            method: As for :meth:`unary`.
        """

        async def guarded(data: AsyncIterator[bytes], call: Call) -> AsyncGenerator[Any]:
            if not self._admit(call, method):
                await self._admit_later(call, method)
            trusted = self._trusted(data, call, method)
            async with aclosing(handler(parsed(trusted), call)) as responses:
                async for response in responses:
                    yield response

        return guarded

    async def _trusted(
        self, data: AsyncIterator[bytes], call: Call, method: str | None
    ) -> AsyncGenerator[bytes]:
        """Yield the messages of a stream for as long as it would still be let in.

        Raises:
            Unauthenticated: If the client's credentials hold no more.
            PermissionDenied: If it may not call the method any more.
        """
        looked = time.monotonic()
        async for one in data:
            if time.monotonic() - looked >= LOOK_AGAIN_S:
                if not self._admit(call, method):
                    await self._admit_later(call, method)
                looked = time.monotonic()
            yield one

    def _admit(self, call: Call, method: str | None) -> bool:
        """Let a call in, or refuse it; ``False`` if that cannot be said at once."""
        looked = call.verdict is not None
        client = _taken(call) if looked else self._authenticator.client(call)
        if client is None:
            return False
        _check(call, client, method)
        return True

    async def _admit_later(self, call: Call, method: str | None) -> None:
        _check(call, await self._authenticator.client_with_new_keys(call), method)


def _taken(call: Call) -> Client:
    """Return who was found to call.

    Raises:
        Exception: Why the call is refused.
    """
    verdict, call.verdict = call.verdict, None  # else call and error would hold each other
    try:
        if isinstance(verdict, Exception):
            raise verdict
        assert verdict is not None
        return verdict
    finally:
        del verdict


def _check(call: Call, client: Client, method: str | None) -> None:
    """Note who calls.

    Raises:
        PermissionDenied: If that client may not call the method.
    """
    call.client = client
    if call.trace.records:  # else it says so once it is noted
        recorded(call).set_attribute(CLIENT, client.id)
    if method is not None and method not in client.methods:
        raise PermissionDenied(method)
