"""What one client may have: a rate, a quota, a number of calls at a time.

A rate is a token bucket: it fills with ``rate`` a second up to ``burst``, and each request takes
one. A batch takes one for each of its requests; it is let through while there is anything in the
bucket, which may then be in debt, since a batch larger than the burst would never be answered
else. Each worker counts for itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping

from cachetools import LRUCache

from gateway.errors import QuotaExceeded
from gateway.inference.priority import Priority
from gateway.inference.refusals import CONCURRENCY, QUOTA, RATE, Reason
from gateway.settings_limits import ClientLimit

MOST_CLIENTS = 10_000
"""Clients that are known at a time; who has not called for longest is forgotten first."""

_SOON_S = 0.1


class Account:
    """What a client has used."""

    __slots__ = ("active", "asked", "period_start", "tokens", "updated")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.updated = self.period_start = now
        self.asked = self.active = 0


class ClientLimits:
    """Lets clients have what they may. Belongs to one event loop.

    Args:
        default: Of every client that has no limit of its own.
        clients: By client.
        clock: Tells the time, in seconds.

    Attributes:
        refusals: Calls that were refused, by reason.
        bounds: Whether anything is bounded.
    """

    def __init__(
        self,
        default: ClientLimit,
        clients: Mapping[str, ClientLimit],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refusals: Counter[Reason] = Counter()
        self._clock = clock
        self.change(default, clients)
        # Those with a limit of their own are few, and must not be forgotten for the many others.
        self._own: dict[str, Account] = {}
        self._others: LRUCache[str, Account] = LRUCache(MOST_CLIENTS)

    def change(self, default: ClientLimit, clients: Mapping[str, ClientLimit]) -> None:
        """Go by other limits; what clients have used stays. May be called on any thread."""
        self._default, self._clients = default, dict(clients)
        self.bounds = any(one.bounds for one in (default, *self._clients.values()))

    def priority(self, client: str) -> Priority | None:
        """Return the highest priority that a client may ask for, if that is bounded."""
        return self._clients.get(client, self._default).priority

    def enter(self, client: str, count: int = 1) -> Account:
        """Take what a call costs; after its end, :meth:`leave` the account.

        Args:
            client: Who calls.
            count: Requests in the call.

        Raises:
            QuotaExceeded: If the client has used up what it may have.
        """
        limit = self._clients.get(client, self._default)
        account = self._account(client, limit)
        now = self._clock()
        if limit.concurrent is not None and account.active >= limit.concurrent:
            self._refuse(CONCURRENCY, client, f"{limit.concurrent} calls at a time", _SOON_S)
        if limit.rate is not None:
            full, rate = limit.tokens, limit.rate
            account.tokens = min(full, account.tokens + rate * (now - account.updated))
            account.updated = now
            if account.tokens < 1:
                wait_s = (1 - account.tokens) / rate
                self._refuse(RATE, client, f"{rate:g} requests per second", wait_s)
        if limit.quota is not None:
            if now - account.period_start >= limit.quota_period_s:
                account.period_start, account.asked = now, 0
            if account.asked >= limit.quota:
                left_s = account.period_start + limit.quota_period_s - now
                text = f"{limit.quota} requests in {limit.quota_period_s:g} s"
                self._refuse(QUOTA, client, text, left_s)
        account.active += 1
        self.charge(account, count)
        return account

    def charge(self, account: Account, count: int) -> None:
        """Take what a call costs of which that was not known when it came."""
        account.tokens -= count
        account.asked += count

    def leave(self, account: Account) -> None:
        """Take note of the end of a call."""
        account.active -= 1

    def _account(self, client: str, limit: ClientLimit) -> Account:
        accounts: MutableMapping[str, Account] = self._own
        before: MutableMapping[str, Account] = self._others
        if client not in self._clients:
            accounts, before = before, accounts
        account = accounts.get(client)
        if account is None:  # it had, or had not, a limit of its own until now
            account = before.pop(client, None) or Account(limit.tokens, self._clock())
            accounts[client] = account
        return account

    def _refuse(self, reason: Reason, client: str, limit: str, wait_s: float) -> None:
        self.refusals[reason] += 1
        raise QuotaExceeded(client, limit, retry_after_s=wait_s)
