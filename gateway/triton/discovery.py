"""Tritons behind a name: looked up again and again, since they come and go.

A target ``dns:///NAME:PORT``, as gRPC writes it, stands for every address that the name has; any
other target is one Triton.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from gateway.triton.client import TritonClient

_log = logging.getLogger(__name__)

SCHEME = "dns:///"

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a name; raises ``OSError`` if it has none."""


class Discovery:
    """Knows the Tritons that there are now.

    Args:
        targets: What the settings name.
        build: Makes the client of an address, ``host:port``.
        resolve: Looks up names.
    """

    def __init__(
        self,
        targets: Sequence[str],
        build: Callable[[str], TritonClient],
        resolve: Resolve | None = None,
    ) -> None:
        self._names = [one for one in targets if one.startswith(SCHEME)]
        self._fixed = {one: build(one) for one in targets if not one.startswith(SCHEME)}
        self._found: dict[str, dict[str, TritonClient]] = {name: {} for name in self._names}
        self._build = build
        self._resolve = resolve or _look_up

    @property
    def changes(self) -> bool:
        """Whether there are names, whose Tritons change."""
        return bool(self._names)

    @property
    def clients(self) -> tuple[TritonClient, ...]:
        """The Tritons as they were last seen; an address that two names have, once."""
        known = dict(self._fixed)
        for found in self._found.values():
            known |= {target: client for target, client in found.items() if target not in known}
        return tuple(known.values())

    async def look(self) -> tuple[TritonClient, ...]:
        """Look the names up, and return the Tritons that there are.

        A name that cannot be looked up, or has no address any more, keeps those that it had: they
        are asked whether they live anyway, and a name server that is away takes no Triton along.
        """
        for name in self._names:
            host, _, port = name.removeprefix(SCHEME).rpartition(":")
            try:
                addresses = await self._resolve(host.strip("[]"), int(port))
            except OSError as error:
                _log.warning("%s cannot be looked up: %s", name, error)
                continue
            if addresses:
                self._take(name, sorted({_target(one, port) for one in addresses}))
        return self.clients

    def _take(self, name: str, targets: Sequence[str]) -> None:
        before = self._found[name]
        known = {target: client for one in self._found.values() for target, client in one.items()}
        self._found[name] = {
            target: self._fixed.get(target) or known.get(target) or self._build(target)
            for target in targets
        }
        if before.keys() != self._found[name].keys():
            _log.info("%s has the addresses %s", name, ", ".join(targets))


def _target(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


async def _look_up(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]
