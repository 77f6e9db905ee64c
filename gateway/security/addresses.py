"""The addresses of clients, each written in one way, however a transport writes it."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote


def canonical_address(host: str) -> str | None:
    """Return an IP address as it is written everywhere here; ``None`` if it is none.

    An IPv4 address that a socket of IPv6 tells (``::ffff:10.0.0.1``) is the IPv4 address.
    """
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def address_of(peer: str) -> str:
    """Return the address of a peer, without its port.

    Args:
        peer: As gRPC writes it: ``ipv4:10.0.0.1:4711``, ``ipv6:%5B::1%5D:4711`` or
            ``ipv6:[::1]:4711``.
    """
    kind, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0]
    if kind == "ipv4":
        return host
    return canonical_address(unquote(host)) or peer
