"""Reads the message of a grpc.aio call, which has a bounded time to come: nothing else bounds it.

By itself grpc takes in the message of a unary call before anybody is asked. So a unary call is
served as one with a stream that has one message: it is read once it is known who calls.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
from google.rpc import code_pb2, status_pb2

from gateway.transport.grpc_aio_operations import to_its_end
from gateway.transport.rpc import LATE, RpcFailed

Context = grpc.aio.ServicerContext[bytes, bytes]

_NONE_CAME = status_pb2.Status(
    code=code_pb2.UNIMPLEMENTED, message="One message was expected, and 0 came."
)
_LOOK_S = 1.0
"""How late it may be seen, at most; or a quarter of the time, if that is less."""


class Messages:
    """The messages of a stream, as they come.

    Args:
        context: Of the call.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> bytes:
        message = await _next_message(self._context)
        if not isinstance(message, bytes):
            raise StopAsyncIteration
        return message


class MessageReader:
    """Reads single messages.

    Args:
        message_s: Time that a message has to come whole, in seconds.
    """

    def __init__(self, message_s: float) -> None:
        self._message_s = message_s
        self._look_s = min(_LOOK_S, message_s / 4)
        # The tasks that wait, in their order, and since when. Not a timer for each: nearly all
        # messages are there already.
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._ticking = False

    async def read(self, context: Context) -> bytes:
        """Return the message of a call.

        Raises:
            RpcFailed: If it does not come in time, or none comes.
        """
        task = asyncio.current_task()
        assert task is not None
        self._waiting[task] = time.monotonic()
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(self._look_s, self._tick)
        try:
            message = await _next_message(context)
        except asyncio.CancelledError:
            if task in self._waiting:  # the client has gone
                raise
            task.uncancel()
            raise RpcFailed(LATE) from None
        finally:
            self._waiting.pop(task, None)
        if not isinstance(message, bytes):
            raise RpcFailed(_NONE_CAME)
        return message

    def _tick(self) -> None:
        begun_before = time.monotonic() - self._message_s
        for task, since in list(self._waiting.items()):
            if since > begun_before:
                break
            del self._waiting[task]
            task.cancel()
        self._ticking = bool(self._waiting)
        if self._ticking:
            asyncio.get_running_loop().call_later(self._look_s, self._tick)


async def _next_message(context: Context) -> Any:
    """Return the next message of a call; what is no bytes is grpc's sign of the end."""
    try:
        return await to_its_end(context.read())
    except grpc.aio.InternalError:  # the client has gone
        return None
