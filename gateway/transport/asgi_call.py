"""A call that came over ASGI, and the watch over those that take long.

The server tells the end of a request, but not that the client has gone: whoever wants to know
asks with ``receive``. To ask for every call would cost more than most calls do, so only those
are watched that are still there after a moment, ever less often. The same watch ends calls
whose deadline has passed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.transport.call import Call, Pair
from gateway.transport.grpc_wire import CERTIFICATE_HEADER, decode_metadata, parse_timeout

Scope = Mapping[str, Any]
Event = asyncio.Future[Mapping[str, Any]]
Receive = Callable[[], Event]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

FIRST_LOOK_S = 0.01
"""A call that ends before is never looked at."""
LONGEST_LOOK_S = 0.25
"""How late it may be seen that a client has gone."""


class AsgiCall(Call):
    """A call over ASGI.

    Attributes:
        headers: Of the request, the last of repeated ones.
        task: Answers the call; ``None`` once it is answered.
        waiting_for_body: Whether the task waits in ``receive``. It must not be cancelled there:
            the server would find its future cancelled.
        request_ended: Whether the client has sent all it will.
        is_gone: Whether nobody waits for the answer any more.
        message_due: When the message that is coming must be whole, by ``time.monotonic``;
            ``None`` if none is.
    """

    __slots__ = (
        "_pairs", "_scope", "deadline", "headers", "is_gone", "message_due", "receive",
        "request_ended", "send", "task", "waiting_for_body",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope["path"][1:], time.time_ns())
        self._scope = scope
        self._pairs: Sequence[Pair] | None = None
        self.receive = receive
        self.send = send
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.task: asyncio.Task[Any] | None = asyncio.current_task()
        self.waiting_for_body = True
        self.request_ended = False
        self.is_gone = False
        self.deadline: float | None = None
        self.message_due: float | None = None

    def start_clock(self) -> None:
        """Read the client's deadline.

        Raises:
            RpcFailed: If it cannot be understood.
        """
        timeout = self.headers.get(b"grpc-timeout")
        if timeout is not None:
            self.deadline = time.monotonic() + parse_timeout(timeout)

    def leave(self) -> None:
        """Take note that the client has gone: nobody needs the answer."""
        self.is_gone = True
        if self.task is not None:
            self.task.cancel()

    @property
    def is_expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and self.deadline <= time.monotonic()

    @property
    def is_late(self) -> bool:
        """Whether a message should have been whole by now."""
        return self.message_due is not None and self.message_due <= time.monotonic()

    def pairs(self) -> Sequence[Pair]:
        """Return all the metadata of the client."""
        if self._pairs is None:
            self._pairs = decode_metadata(self._scope["headers"])
        return self._pairs

    def header(self, key: str) -> str | None:
        """Return the last text metadata with this key."""
        value = self.headers.get(key.encode())
        return None if value is None or key.endswith("-bin") else value.decode("latin-1")

    def certificate(self) -> bytes | None:
        """Return what Envoy tells of the client's certificate; it lets no client write that."""
        return self.headers.get(CERTIFICATE_HEADER)

    def peer(self) -> str:
        """Return the address of the client, as gRPC writes it."""
        client = self._scope["client"]
        if client is None:
            return ""
        address, port = client
        return f"ipv6:[{address}]:{port}" if ":" in address else f"ipv4:{address}:{port}"

    def time_remaining(self) -> float | None:
        """Return the seconds left until the client's deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


class Watch:
    """Ends calls whose deadline passed, whose client has gone, or whose messages do not come.

    Args:
        on_expired: Ends a call whose time was over before its request was there.
    """

    def __init__(self, on_expired: Callable[[AsgiCall], None]) -> None:
        self._on_expired = on_expired
        self._new: deque[tuple[float, AsgiCall]] = deque()
        self._ticking = False

    def add(self, call: AsgiCall) -> None:
        """Watch a call until its task is ``None``."""
        self._new.append((time.monotonic(), call))
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(FIRST_LOOK_S, self._tick)

    def _tick(self) -> None:
        """Look at calls that have been here for a while."""
        until = time.monotonic() - FIRST_LOOK_S / 2
        while self._new and self._new[0][0] <= until:
            call = self._new.popleft()[1]
            if call.task is not None:
                self._look(call, FIRST_LOOK_S)
        self._ticking = bool(self._new)
        if self._ticking:
            asyncio.get_running_loop().call_later(FIRST_LOOK_S, self._tick)

    def _look(self, call: AsgiCall, again_s: float, asked: Event | None = None) -> None:
        """Look at a call, and again after ``again_s`` or at its deadline.

        Args:
            call: Which.
            again_s: Seconds until the next look.
            asked: What the last look asked for; a server may answer that when the client goes.
        """
        if call.task is None:
            return
        if call.is_expired or call.is_late:
            if call.waiting_for_body:
                self._on_expired(call)
            else:
                call.task.cancel()
            return
        if call.request_ended and (asked is None or asked.done()):
            asked = call.receive()
            asked.add_done_callback(lambda event: _received(call, event))
        left = call.time_remaining()
        delay = again_s if left is None else min(again_s, left)
        longer = min(2 * again_s, LONGEST_LOOK_S)
        asyncio.get_running_loop().call_later(delay, self._look, call, longer, asked)


def _received(call: AsgiCall, event: Event) -> None:
    if event.result()["type"] == "http.disconnect":
        call.leave()
