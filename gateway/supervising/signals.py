"""How a process is told to stop."""

from __future__ import annotations

import asyncio
import signal


class StopSignals:
    """SIGTERM and SIGINT: the first asks to stop, the second not to wait any longer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()

    def receive(self) -> None:
        """Take a signal."""
        (self.forced if self.asked.is_set() else self.asked).set()

    def listen(self) -> None:
        """Take the signals of this process, in the running event loop, until that ends."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.receive)
