"""What workers tell their supervisor: a datagram each, on a socket in a folder of its own.

Whatever a worker is made of, it needs to know no more than a path.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

_log = logging.getLogger(__name__)

T = TypeVar("T")


def tell(path: Path | str, what: T, adapter: TypeAdapter[T], wait_s: float = 0) -> None:
    """Send one thing; a supervisor that is busy is waited for so long.

    Raises:
        OSError: If nobody takes it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(wait_s)
        sender.sendto(adapter.dump_json(what), str(path))


@asynccontextmanager
async def hearing_at(
    path: Path, adapter: TypeAdapter[T], hear: Callable[[T], None]
) -> AsyncIterator[None]:
    """Pass on what workers tell, while the context lasts.

    Args:
        path: Where they find the socket; only its owner may enter the folder.
        adapter: Reads a datagram; what is none of its kind is logged.
        hear: Is called with each, in this event loop.
    """
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(path))
    receiver.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Hearer(adapter, hear), sock=receiver
    )
    try:
        yield
    finally:
        transport.close()


class _Hearer(asyncio.DatagramProtocol):
    def __init__(self, adapter: TypeAdapter[T], hear: Callable[[T], None]) -> None:
        def take(data: bytes) -> None:
            try:
                what = adapter.validate_json(data)
            except ValueError:
                _log.warning("A notice of a worker could not be understood: %.200r", data)
                return
            hear(what)

        self._take = take

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._take(data)
