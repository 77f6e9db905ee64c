"""Where calls are let in: what their client may have, and how many a domain answers at a time.

Without a limit in the settings, a call pays nothing for this but the look for its priority.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from gateway.errors import Overloaded
from gateway.inference.client_limits import ClientLimits
from gateway.inference.priority import NORMAL, rank_of
from gateway.inference.refusals import CONCURRENCY
from gateway.telemetry.metrics.instruments import REFUSED_CALLS
from gateway.telemetry.metrics.readings import Reading
from gateway.transport.call import Call

PRIORITY = "x-trident-priority"
"""The metadata that say how much a call matters: ``high``, ``normal`` or ``low``."""

_EVERYBODY = nullcontext()


class Entrance:
    """Lets calls in.

    Args:
        clients: What clients may have; ``None``: as much as they want.
        domains: By domain: calls that are answered at a time.
    """

    def __init__(
        self, clients: ClientLimits | None = None, domains: Mapping[str, int] | None = None
    ) -> None:
        self._clients = clients
        self._domains = dict(domains or {})
        self._active: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self.is_open = clients is None and not self._domains
        """Whether everybody is let in."""

    def readings(self) -> Iterator[Reading]:
        """Yield how many calls were refused, and why."""
        if self._clients is not None:
            for reason, count in list(self._clients.refusals.items()):
                yield Reading(REFUSED_CALLS, ("client", "", reason), count)
        for domain, count in list(self._refused.items()):
            yield Reading(REFUSED_CALLS, ("domain", domain, CONCURRENCY), count)

    def rank(self, call: Call) -> int:
        """Return the rank of a call's priority."""
        asked = call.header(PRIORITY)
        if self._clients is None:
            return NORMAL if asked is None else rank_of(asked, None)
        return rank_of(asked, self._clients.priority(client_of(call)))

    def letting_in(self, domain: str, call: Call, count: int = 1) -> AbstractContextManager[None]:
        """Let a call in, for as long as it is answered.

        Args:
            domain: Of the call.
            call: Who asks.
            count: Requests in it.

        Raises:
            QuotaExceeded: If its client has used up what it may have.
            Overloaded: If its domain answers as many as it may.
        """
        return _EVERYBODY if self.is_open else self._letting_in(domain, call, count)

    @contextmanager
    def _letting_in(self, domain: str, call: Call, count: int) -> Generator[None]:
        limit = self._domains.get(domain)
        if limit is not None and self._active[domain] >= limit:
            self._refused[domain] += 1
            raise Overloaded(domain, why=CONCURRENCY)
        client = ""
        if self._clients is not None:
            client = client_of(call)
            self._clients.enter(client, count)
        self._active[domain] += 1
        try:
            yield
        finally:
            self._active[domain] -= 1
            if self._clients is not None:
                self._clients.leave(client)


def client_of(call: Call) -> str:
    """Return who makes a call: as it has shown, or else its address, without the port."""
    if call.client is not None:
        return call.client.id
    return call.peer().rpartition(":")[0]
