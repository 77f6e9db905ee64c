"""Where calls are let in: what their client may have, and how many a domain answers at a time.

Without a limit in the settings, a call pays nothing for this but the look for its priority.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from gateway.errors import Overloaded
from gateway.inference.client_limits import ClientLimits
from gateway.inference.priority import NORMAL, Turn, rank_of
from gateway.inference.refusals import CONCURRENCY
from gateway.settings_limits import ClientLimit
from gateway.telemetry.metrics.instruments import REFUSED_CALLS
from gateway.telemetry.metrics.readings import Reading
from gateway.transport.call import Call

PRIORITY = "x-trident-priority"
"""The metadata that say how much a call matters: ``high``, ``normal`` or ``low``."""

Charge = Callable[[int], None]
"""Takes the requests of a call that were not counted when it was let in."""


def _charge_nothing(count: int) -> None:
    pass


_EVERYBODY = nullcontext(_charge_nothing)
_UNBOUNDED = ClientLimit()


class Entrance:
    """Lets calls in.

    Args:
        default: What each client may have that has no limit of its own.
        clients: By client.
        domains: By domain: calls that are answered at a time.
    """

    def __init__(
        self,
        default: ClientLimit = _UNBOUNDED,
        clients: Mapping[str, ClientLimit] | None = None,
        domains: Mapping[str, int] | None = None,
    ) -> None:
        self._clients = ClientLimits(default, clients or {})
        self._domains = dict(domains or {})
        self._active: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return not self._clients.bounds and not self._domains

    def change(
        self, default: ClientLimit, clients: Mapping[str, ClientLimit], domains: Mapping[str, int]
    ) -> None:
        """Go by other limits; who was let in stays. May be called on any thread."""
        self._clients.change(default, clients)
        self._domains = dict(domains)

    def readings(self) -> Iterator[Reading]:
        """Yield how many calls were refused, and why."""
        for reason, count in list(self._clients.refusals.items()):
            yield Reading(REFUSED_CALLS, ("client", "", reason), count)
        for domain, count in list(self._refused.items()):
            yield Reading(REFUSED_CALLS, ("domain", domain, CONCURRENCY), count)

    def rank(self, call: Call) -> int:
        """Return the rank of a call's priority."""
        asked = call.header(PRIORITY)
        if not self._clients.bounds:
            return NORMAL if asked is None else rank_of(asked, None)
        return rank_of(asked, self._clients.priority(call.who()))

    def turn(self, call: Call) -> Turn:
        """Return whose turn a call waits for."""
        return Turn(self.rank(call), call.who())

    def letting_in(self, domain: str, call: Call, count: int = 1) -> AbstractContextManager[Charge]:
        """Let a call in, for as long as it is answered; give what charges its client for more.

        Args:
            domain: Of the call.
            call: Who asks.
            count: Requests in it, as far as that is known.

        Raises:
            QuotaExceeded: If its client has used up what it may have.
            Overloaded: If its domain answers as many as it may.
        """
        return _EVERYBODY if self.is_open else self._letting_in(domain, call, count)

    @contextmanager
    def _letting_in(self, domain: str, call: Call, count: int) -> Generator[Charge]:
        limit = self._domains.get(domain)
        if limit is not None and self._active[domain] >= limit:
            self._refused[domain] += 1
            raise Overloaded(domain, why=CONCURRENCY)
        account = self._clients.enter(call.who(), count) if self._clients.bounds else None
        self._active[domain] += 1
        try:
            yield _charge_nothing if account is None else partial(self._clients.charge, account)
        finally:
            self._active[domain] -= 1
            if account is not None:
                self._clients.leave(account)
