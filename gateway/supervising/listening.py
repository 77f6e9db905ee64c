"""The address that all workers share, held for them from the beginning."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from gateway.starting import StartFailed

_NOT_OURS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

_Address = tuple[Any, ...]
"""As sockets of the family take it: host, port, and what else there is."""


class HeldAddress:
    """An address where processes that set ``SO_REUSEPORT`` can listen, side by side.

    It is held by sockets that are bound but do not listen, so it stays ours while no worker is
    there. Another gateway is refused, though it would share its own address too.

    Args:
        listen: ``host:port``; port 0 for a free one.

    Raises:
        StartFailed: If the address is in use or not of this machine.
    """

    def __init__(self, listen: str) -> None:
        self.host, _, port = listen.rpartition(":")
        self.port = int(port)
        self._sockets: list[socket.socket] = []
        try:
            self._hold_all(_resolved(self.host, self.port))
        except OSError as error:
            self.release()
            raise StartFailed(f"cannot listen at {listen}: {error.strerror}") from error

    def __str__(self) -> str:
        """Return ``host:port`` with the port that was found."""
        return f"{self.host}:{self.port}"

    def release(self) -> None:
        """Give the address back."""
        for held in self._sockets:
            held.close()
        self._sockets.clear()

    def __enter__(self) -> HeldAddress:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _hold_all(self, addresses: Sequence[tuple[socket.AddressFamily, _Address]]) -> None:
        """Hold those that are of this machine: it may know no IPv6, and its hosts file not know."""
        missing: OSError | None = None
        for family, address in addresses:
            try:
                self._hold(family, address)
            except OSError as error:
                if error.errno not in _NOT_OURS:
                    raise
                missing = error
        if missing is not None and not self._sockets:
            raise missing

    def _hold(self, family: socket.AddressFamily, address: _Address) -> None:
        host, _, *rest = address
        with socket.socket(family, socket.SOCK_STREAM) as first:
            # Bound as the only one: nobody else is there, whether they would share or not. What
            # lingers of a gateway that has just ended does not count.
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                first.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            first.bind((host, self.port, *rest))
            self.port = first.getsockname()[1]
            # From here on shared, and without a moment in between: then nobody else can be the
            # only one there.
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held = socket.socket(family, socket.SOCK_STREAM)
            self._sockets.append(held)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            held.bind((host, self.port, *rest))


def _resolved(host: str, port: int) -> list[tuple[socket.AddressFamily, _Address]]:
    """Return the addresses of a host, each once."""
    found = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list({info[4]: (info[0], info[4]) for info in found}.values())
