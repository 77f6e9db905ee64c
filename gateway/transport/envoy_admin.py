"""Orders to the Envoy that this Python is in, over a socket that only we may use."""

from __future__ import annotations

import asyncio
import socket
from http.client import OK, HTTPConnection
from pathlib import Path

from gateway.transport.envoy_config import STAT_PREFIX

_POLL_S = 0.02
_ANSWER_S = 5.0
_ACTIVE = f"http.{STAT_PREFIX}.downstream_rq_active"


class EnvoyAdmin:
    """Speaks to Envoy's administration.

    Args:
        path: Its socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def drain(self) -> None:
        """Send each client a GOAWAY with its next answer; take connections until Envoy ends."""
        await self._ask("POST", "/drain_listeners?graceful&skip_exit")

    async def wait_sent(self, timeout_s: float) -> None:
        """Wait until every answer has gone to its client, ``timeout_s`` at most."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self.active() > 0:
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            return

    async def active(self) -> int:
        """Return how many calls are not wholly answered."""
        text = await self._ask("GET", f"/stats?filter=^{_ACTIVE}$")
        return int(text.rpartition(":")[2])

    async def _ask(self, method: str, path: str) -> str:
        return await asyncio.to_thread(self._ask_and_wait, method, path)

    def _ask_and_wait(self, method: str, path: str) -> str:
        """Return the answer of Envoy.

        Raises:
            OSError: If it does not answer, or refuses.
        """
        connection = HTTPConnection("envoy", timeout=_ANSWER_S)
        try:
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(_ANSWER_S)
            connection.sock.connect(str(self._path))
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        if answer.status != OK:
            raise OSError(f"Envoy refused {method} {path}: {body}")
        return body
