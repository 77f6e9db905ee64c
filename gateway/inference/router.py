"""Which release of a line answers."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence

from gateway.errors import ModelUnavailable
from gateway.inference.runner import RouteState, ServedRelease

_SCALE = 2**64


def choose(line: str, key: str, routes: Sequence[RouteState]) -> ServedRelease:
    """Return the release that answers for ``key``.

    Among the releases of the line that serve, each gets its share of the keys. A key moves only
    where shares move: when a release's share grows, to that one and from no other. Without a
    key, chance decides.

    Raises:
        ModelUnavailable: If none serves.
    """
    serving = _serving(line, routes)
    if not serving:
        raise ModelUnavailable(line, _why([route for route in routes if route.line == line]))
    if len(serving) == 1:
        return serving[0][0]
    return min(serving, key=lambda one: _distance(line, key, one[0].release) / one[1])[0]


def only(line: str, routes: Sequence[RouteState]) -> ServedRelease | None:
    """Return the release that answers for every key, if there is just one."""
    serving = _serving(line, routes)
    return serving[0][0] if len(serving) == 1 else None


def _serving(line: str, routes: Sequence[RouteState]) -> list[tuple[ServedRelease, float]]:
    return [
        (route.served, route.weight)
        for route in routes
        if route.line == line and route.serving and route.served and route.weight > 0
    ]


def _distance(line: str, key: str, release: str) -> float:
    """Return how far a key is from a release: above 0, exponentially distributed.

    The nearest release by distance over weight gets the key (weighted rendezvous hashing). The
    same on every gateway, unlike ``hash``.
    """
    if not key:
        return random.expovariate(1.0)
    digest = hashlib.blake2b(f"{line}\0{release}\0{key}".encode(), digest_size=8).digest()
    return -math.log((int.from_bytes(digest, "big") + 1) / (_SCALE + 1))


def _why(of_line: Sequence[RouteState]) -> str:
    if not of_line:
        return "no release is routed"
    return "; ".join(f"release '{route.release}': {route.detail}" for route in of_line)
