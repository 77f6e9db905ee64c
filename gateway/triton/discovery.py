"""Tritons behind a name: looked up again and again, since they come and go.

A target ``dns:///NAME:PORT``, as gRPC writes it, stands for every address that the name has; any
other target is one Triton.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

from gateway.settings import DNS
from gateway.triton.client import TritonClient

_log = logging.getLogger(__name__)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a name; raises ``OSError`` if it has none."""


class Discovery:
    """Knows the Tritons that there are now.

    Args:
        targets: What the settings name.
        build: Makes the client of an address, ``host:port``, given the host's name too, which its
            certificate shows; ``None`` where that is the address's own.
        resolve: Looks up names.
    """

    def __init__(
        self,
        targets: Sequence[str],
        build: Callable[[str, str | None], TritonClient],
        resolve: Resolve | None = None,
    ) -> None:
        self._names = [one for one in targets if one.startswith(DNS)]
        self._fixed = {one: build(one, None) for one in targets if not one.startswith(DNS)}
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
            host, port = host_and_port(name)
            try:
                addresses = await self._resolve(host, port)
            except (OSError, UnicodeError) as error:  # a label can be too long
                _log.warning("%s cannot be looked up: %s", name, error)
                continue
            if addresses:
                self._take(name, targets_of(addresses, port))
        return self.clients

    def _take(self, name: str, targets: Sequence[str]) -> None:
        before, host = self._found[name], host_and_port(name)[0]
        known = {target: client for one in self._found.values() for target, client in one.items()}
        self._found[name] = {
            target: self._fixed.get(target) or known.get(target) or self._build(target, host)
            for target in targets
        }
        if before.keys() != self._found[name].keys():
            _log.info("%s has the addresses %s", name, ", ".join(targets))


def host_and_port(name: str) -> tuple[str, int]:
    """Return what a ``dns:///`` target names."""
    host, _, port = name.removeprefix(DNS).rpartition(":")
    return host.strip("[]"), int(port)


def targets_of(addresses: Iterable[str], port: int) -> list[str]:
    """Return the targets at some addresses, each once."""
    return sorted({f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in addresses})


async def _look_up(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]
