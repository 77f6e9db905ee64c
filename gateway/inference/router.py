"""Which release of a line answers."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from gateway.errors import ModelUnavailable
from gateway.inference.runner import RouteState, ServedRelease

_SCALE = 2**64


def choose(line: str, key: str, routes: Sequence[RouteState]) -> ServedRelease:
    """Return the release that answers for ``key``.

    Among the releases of the line that serve, each gets its share of the keys; the same key
    stays with the same release while the shares do. Without a key, chance decides.

    Raises:
        ModelUnavailable: If none serves.
    """
    serving = _serving(line, routes)
    if not serving:
        raise ModelUnavailable(line, _why([route for route in routes if route.line == line]))
    if len(serving) == 1:
        return serving[0][0]
    place = _place(line, key) * sum(weight for _, weight in serving)
    for release, weight in serving:
        place -= weight
        if place < 0:
            return release
    return serving[-1][0]


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


def _place(line: str, key: str) -> float:
    """Return where a key lies in ``[0, 1)``: the same on every gateway, unlike ``hash``."""
    if not key:
        return random.random()
    digest = hashlib.blake2b(f"{line}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _SCALE


def _why(of_line: Sequence[RouteState]) -> str:
    if not of_line:
        return "no release is routed"
    return "; ".join(f"release '{route.release}': {route.detail}" for route in of_line)
