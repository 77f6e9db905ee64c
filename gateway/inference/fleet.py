"""Which of several Tritons is asked, and which had better not be.

Of two picked at random, the one with less to do is asked (the power of two choices, Mitzenmacher
2001): nearly as good as to look at all, and a Triton that has just come is not run over. One that
has come back gets little at first.

What comes of each inference is noted for its Triton and release. From that the fleet says who is
to be left out, and why; to look at it closely, to leave it out and to take it back is
:mod:`gateway.triton.endpoint`'s: with a trial, not with calls of clients.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import TypeVar

from gateway.inference.standing import FEWEST_TIMES, Attempt, Standing
from gateway.triton.verdicts import (
    HANGS,
    REFUSES,
    SLOW,
    UNREACHABLE,
    WRONG,
    HasTarget,
    Kind,
    Suspicion,
    is_slow,
)

Key = tuple[str, str]
"""Line and release."""

MOST_FAILED = 3
MOST_REFUSED = 5
"""Of the last ten inferences."""

SILENCE_S = 0.5
_SILENCES = 10.0
"""A Triton is suspected that has given no answer for so long, and for so many usual times."""


ClientT = TypeVar("ClientT", bound=HasTarget)


class Fleet:
    """Chooses among Tritons, and judges them.

    Args:
        clock: Tells the time, in seconds.
        chance: Picks.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._chance = chance or random.Random()
        self._standings: dict[Key, dict[HasTarget, Standing]] = {}
        self._outstanding: dict[HasTarget, int] = {}

    def keep(self, serving: dict[Key, Sequence[ClientT]]) -> None:
        """Take who can be asked for what now; who comes back begins anew."""
        now = self._clock()
        for key, clients in serving.items():
            known = self._standings.get(key, {})
            others = any(client in known for client in clients)
            self._standings[key] = {
                client: known.get(client) or Standing(now, fresh=others) for client in clients
            }
        for key in self._standings.keys() - serving.keys():
            del self._standings[key]
        clients_now = {client for clients in serving.values() for client in clients}
        for client in [one for one, count in self._outstanding.items() if not count]:
            if client not in clients_now:
                del self._outstanding[client]

    def choose(
        self, key: Key, clients: Sequence[ClientT], tried: Sequence[HasTarget] = ()
    ) -> ClientT:
        """Return whom to ask, preferably one that was not tried.

        Args:
            key: For which release.
            clients: Who can be asked for it, at least one.
            tried: Who was, for the same call.
        """
        if len(clients) == 1:
            return clients[0]
        left = [client for client in clients if client not in tried] if tried else clients
        if not left:
            left = clients
        if len(left) > 2:
            left = self._chance.sample(left, 2)
        if len(left) == 1:
            return left[0]
        one, other = left
        return one if self._busy(key, one) <= self._busy(key, other) else other

    def begin(self, client: HasTarget, key: Key, rows: int = 1) -> Attempt:
        """Note that a Triton is asked for so many rows."""
        now = self._clock()
        standings = self._standings.setdefault(key, {})
        standing = standings.get(client)
        if standing is None:  # it was chosen, and is routed no longer
            standing = standings[client] = Standing(now, fresh=False)
        self._outstanding[client] = self._outstanding.get(client, 0) + 1
        return standing.begin(now, rows)

    def end(
        self, client: HasTarget, attempt: Attempt, kind: Kind | None, *, answered: bool
    ) -> None:
        """Note what came of it.

        Args:
            client: Who was asked.
            attempt: From :meth:`begin`.
            kind: What was wrong; ``None``: nothing that Triton is to blame for.
            answered: Whether an answer came that makes sense.
        """
        self._outstanding[client] -= 1
        standing, now = attempt.standing, self._clock()
        if answered:
            standing.answered(attempt, now)
        elif kind in (UNREACHABLE, WRONG):
            standing.fell(attempt, now)
        elif kind == REFUSES:
            standing.refuses(attempt, now)
        else:
            standing.over(attempt, now)

    def suspicion(self, client: HasTarget, key: Key, kind: Kind, why: str) -> Suspicion | None:
        """Return what the last failure, of this kind, makes of a Triton; ``None`` if nothing."""
        standing = self._standings.get(key, {}).get(client)
        if standing is None:
            return None
        failed, refused = standing.failed, standing.refused
        if kind == REFUSES and refused < MOST_REFUSED:
            return None
        sure = failed >= MOST_FAILED
        if sure or kind == REFUSES:
            standing.forgive()
        elif failed > 1:
            return None  # it is being looked at since the first one
        count = max(failed, refused)
        text = f"{count} of its last 10 inferences failed, the last one because {why}"
        return Suspicion(client, key, kind, text, standing.usual_s, sure)

    def suspicions(self) -> Iterator[Suspicion]:
        """Yield who is silent or slow; ask now and then."""
        now = self._clock()
        for key, standings in self._standings.items():
            for client, standing in standings.items():
                silent_s, due_s = standing.silent_s(now), standing.due_s()
                if silent_s > max(SILENCE_S, _SILENCES * due_s):
                    why = f"it has given no answer for {silent_s:.1f} s"
                    yield Suspicion(client, key, HANGS, why, due_s, sure=False)
            yield from self._slow(key, standings, now)

    def usual_s(self, key: Key) -> float:
        """Return within which time nearly all answers of a release come; 0 if that is unknown."""
        known = [
            one.usual_s + 4 * one.deviation_s
            for one in self._standings.get(key, {}).values()
            if one.answers >= FEWEST_TIMES
        ]
        return min(known, default=0.0)

    def outstanding(self) -> Iterator[tuple[str, int]]:
        """Yield the address of each Triton, and how many inferences it has under way."""
        for client, count in list(self._outstanding.items()):
            yield client.target, count

    def _busy(self, key: Key, client: HasTarget) -> float:
        """Return how much it has to do, of all lines: they share the machine."""
        standing = self._standings.get(key, {}).get(client)
        weight = 1.0 if standing is None else standing.weight(self._clock())
        return (self._outstanding.get(client, 0) + 1) / weight

    def _slow(
        self, key: Key, standings: dict[HasTarget, Standing], now: float
    ) -> Iterator[Suspicion]:
        known = {c: s.time_s(now) for c, s in standings.items() if s.answers >= FEWEST_TIMES}
        if len(known) < 2:
            return
        slowest = max(known, key=known.__getitem__)
        others_s = median(time_s for client, time_s in known.items() if client is not slowest)
        slow_s = known[slowest]
        if is_slow(slow_s, others_s):
            why = f"its answers take {1e3 * slow_s:.0f} ms, those of others {1e3 * others_s:.0f} ms"
            yield Suspicion(slowest, key, SLOW, why, standings[slowest].usual_s, sure=False)
