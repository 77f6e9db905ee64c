"""What a transport calls, and how that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from google.rpc import code_pb2, status_pb2

from gateway.transport.call import Call

Handler = Callable[..., Any]
Look = Callable[[Call], Awaitable[bool]]


LATE = status_pb2.Status(
    code=code_pb2.DEADLINE_EXCEEDED, message="A message took too long to come whole."
)
"""How a transport ends a call whose message does not come."""


class RpcFailed(Exception):
    """The one way in which an RPC fails towards a transport."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Rpc:
    """What a transport calls.

    Raises ``RpcFailed``, or ``CancelledError`` where the transport cancelled it because the
    client left or its deadline passed. A transport closes the answers of a stream it leaves.

    Attributes:
        streaming: Whether messages are streamed in either direction.
        answer: ``async (bytes, Call) -> bytes``, or if streaming
            ``(AsyncIterator[bytes], Call) -> AsyncGenerator[bytes]``.
        look: Tells from the headers alone whether whoever calls may; ``None``: everybody. A
            transport that could leave messages unread asks it first, and hands ``answer`` none
            if not: that then refuses the call, as it does any other.
    """

    streaming: bool
    answer: Handler
    look: Look | None = None


def code_of_cancelled(call: Call) -> int:
    """Return why a transport cancelled: the deadline passed, or the client left."""
    left = call.time_remaining()
    expired = left is not None and left <= 0
    return int(code_pb2.DEADLINE_EXCEEDED if expired else code_pb2.CANCELLED)
