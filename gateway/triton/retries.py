"""When a release that cannot be asked on a Triton is tried again there."""

from __future__ import annotations

import time
from collections import Counter

from gateway.triton.routed import Key

_LONGEST_RETRY_S = 60.0

_LONGEST_AFTER_REST_S = 2.0
"""Until the next trial of a release that has been left out."""

_FIRST_REST_S = 0.25
_LONGEST_REST_S = 30.0
_FORGIVEN_AFTER_S = 60.0
"""A release that was left out is tried again soon the first time, and later each time that it has
to be left out again, until it has done well for so long."""


class Retries:
    """Says of each release when it is to be tried again.

    Args:
        first_s: Time until a release that failed is tried again; doubled after each failure.
    """

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s
        self._at: dict[Key, float] = {}
        self._failures: Counter[Key] = Counter()
        self._rests: dict[Key, tuple[int, float]] = {}
        """How often a release was left out, and when it last was."""

    def due(self, key: Key) -> bool:
        """Return whether a release may be tried now."""
        return time.monotonic() >= self._at.get(key, 0)

    def failed(self, key: Key) -> None:
        """Note that a release does not fit, or could not be loaded."""
        longest_s = _LONGEST_AFTER_REST_S if key in self._rests else _LONGEST_RETRY_S
        pause_s = min(self._first_s * 2 ** self._failures[key], longest_s)
        self._at[key] = time.monotonic() + pause_s
        self._failures[key] += 1

    def settled(self, key: Key) -> None:
        """Note that a release fits, or is wanted no more."""
        self._failures.pop(key, None)
        self._at.pop(key, None)

    def left_out(self, key: Key) -> float:
        """Note that a release is left out; return the time until it is tried again, in seconds."""
        now = time.monotonic()
        times, last = self._rests.get(key, (0, now))
        times = times + 1 if now - last < _FORGIVEN_AFTER_S else 1
        self._rests[key] = times, now
        rest_s: float = min(_FIRST_REST_S * 2 ** (times - 1), _LONGEST_REST_S)
        self._at[key] = now + rest_s
        return rest_s

    def was_left_out(self, key: Key) -> bool:
        """Return whether a release has ever been left out, as far as that is not forgiven."""
        return key in self._rests

    def forgive(self, key: Key) -> None:
        """Forget that a release was left out: what comes back is another one."""
        self._rests.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._at.clear()
        self._failures.clear()
        self._rests.clear()
