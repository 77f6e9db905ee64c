"""Asks a silent server that owes us answers whether it is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

FREE_PINGS = 2
PING_PAUSE_S = 310.0
"""gRPC's own server closes a connection at the third ping that comes less than five minutes after
the one before it, without a response in between; so does Triton."""


@dataclass(frozen=True)
class Patience:
    """How long silence is taken for work, and how long an answer to a ping may take."""

    silence_s: float = 20.0
    answer_s: float = 5.0


class Keepalive:
    """Watches one connection.

    Args:
        loop: Tells the time.
        patience: With the server.
        busy: Whether the server owes an answer.
        ping: Sends one.
        give_up: Ends the connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        patience: Patience,
        *,
        busy: Callable[[], bool],
        ping: Callable[[], None],
        give_up: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._patience = patience
        self._busy = busy
        self._ping = ping
        self._give_up = give_up
        self._asked = False
        self._next_ping_at = 0.0
        self.heard = True
        """Whether anything came since the last look."""
        self.pings = 0
        """Since the last response."""
        self._timer = loop.call_later(patience.silence_s, self._look)

    def stop(self) -> None:
        """Ask no more."""
        self._timer.cancel()

    def _look(self) -> None:
        pause_s = self._patience.silence_s
        if self._asked and not self.heard:
            self._give_up()
            return
        self._asked = not self.heard and self._busy() and self._may_ping()
        if self._asked:
            self._ping()
            self.pings += 1
            self._next_ping_at = self._loop.time() + PING_PAUSE_S
            pause_s = self._patience.answer_s
        self.heard = False
        self._timer = self._loop.call_later(pause_s, self._look)

    def _may_ping(self) -> bool:
        return self.pings < FREE_PINGS or self._loop.time() >= self._next_ping_at
