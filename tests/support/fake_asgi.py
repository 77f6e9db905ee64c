"""An ASGI server that only remembers, and a client that a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any


class FakeConnection:
    """One request over ASGI.

    Attributes:
        sent: Every event that the application sent.
        asked: How often the application called ``receive``.
    """

    def __init__(self, path: str, headers: Mapping[str, str] | None = None, **scope: Any) -> None:
        given = {"content-type": "application/grpc", "te": "trailers", **(headers or {})}
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [(key.encode(), value.encode()) for key, value in given.items()],
            "client": ("127.0.0.1", 4711),
            **scope,
        }
        self.sent: list[Mapping[str, Any]] = []
        self.asked = 0
        self.gone = False
        self._ended = False
        self._events: list[dict[str, Any]] = []
        self._waiting: list[asyncio.Future[Mapping[str, Any]]] = []

    def receive(self) -> asyncio.Future[Mapping[str, Any]]:
        """As pyvoy does: after the end of the request, it answers at once."""
        self.asked += 1
        future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        if self._events:
            future.set_result(self._events.pop(0))
        elif self.gone:
            future.set_result({"type": "http.disconnect"})
        elif self._ended:
            future.set_result({"type": "http.request", "body": b"", "more_body": False})
        else:
            self._waiting.append(future)
        return future

    async def send(self, event: Mapping[str, Any]) -> None:
        if self.gone:
            raise OSError("the client has gone")
        self.sent.append(event)

    def body(self, data: bytes, more: bool = False) -> None:
        """The client sends a part of its request."""
        self._ended = not more
        event = {"type": "http.request", "body": data, "more_body": more}
        if self._waiting:
            self._waiting.pop().set_result(event)
        else:
            self._events.append(event)

    def leave(self) -> None:
        """The client goes."""
        self.gone = True
        while self._waiting:
            self._waiting.pop().set_result({"type": "http.disconnect"})

    @property
    def status(self) -> int | None:
        """The HTTP status."""
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self) -> dict[bytes, bytes]:
        """What the answer begins with."""
        return dict(self.sent[0]["headers"])

    @property
    def answer(self) -> bytes:
        """The body of the answer."""
        return b"".join(event["body"] for event in self.sent if "body" in event)

    @property
    def trailers(self) -> dict[bytes, bytes]:
        """What the answer ends with."""
        last = self.sent[-1]
        return dict(last["headers"]) if last["type"] == "http.response.trailers" else {}
