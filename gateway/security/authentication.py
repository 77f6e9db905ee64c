"""Who a call is from: the one place that looks at credentials."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from gateway.errors import Unauthenticated
from gateway.security.certificates import Certificates
from gateway.security.client import Client
from gateway.security.errors import Refused
from gateway.security.key_sets import KnownKeys
from gateway.security.keys import Keys
from gateway.security.refusals import RefusalLog
from gateway.security.tokens import Tokens, UnknownKey

AUTHORIZATION = "authorization"
API_KEY = "x-api-key"

_log = logging.getLogger(__name__)


class Credentials(Protocol):
    """What is asked of a call."""

    @property
    def method(self) -> str:
        """The full method."""
        ...

    def header(self, key: str) -> str | None:
        """Return the last text metadata with this key."""
        ...

    def peer(self) -> str:
        """Return the client's address."""
        ...

    def certificate(self) -> bytes | None:
        """Return what the transport tells of the client's certificate."""
        ...


class Authenticator:
    """Tells who calls.

    Where tokens or keys are known, a call needs one of them, whatever certificate the connection
    has; else the certificate says who it is.

    Args:
        tokens: Knows tokens, if they are accepted.
        issuer_keys: What tokens are checked with.
        keys: Returns the API keys as they are now, if they are accepted.
        certificates: Knows certificates, if they say who calls.
        log: Is told why a call was refused.
    """

    def __init__(
        self,
        *,
        tokens: Tokens | None = None,
        issuer_keys: KnownKeys | None = None,
        keys: Callable[[], Keys] | None = None,
        certificates: Certificates | None = None,
        log: RefusalLog | None = None,
    ) -> None:
        self._tokens = tokens
        self._issuer_keys = issuer_keys
        self._keys = keys
        self._certificates = certificates
        self._log = log or RefusalLog(_log)
        self._asking: asyncio.Future[bool] | None = None

    @property
    def refused_calls(self) -> int:
        """How many there were."""
        return self._log.refused_calls

    def take_over(self, other: Authenticator) -> None:
        """Count on where another one ends, and log as it does."""
        self._log = other._log

    def client(self, call: Credentials) -> Client | None:
        """Return who calls; ``None`` if the keys of tokens have to be looked at again first.

        Raises:
            Unauthenticated: If the call does not say, or not convincingly; it says no more.
        """
        try:
            return self._client(call)
        except UnknownKey as error:
            if self._asking is not None or (self._issuer_keys and self._issuer_keys.may_ask):
                return None
            raise self._refusal(call, error) from None
        except Refused as error:
            raise self._refusal(call, error) from None

    async def client_with_new_keys(self, call: Credentials) -> Client:
        """Look at the keys of tokens again, and return who calls.

        Raises:
            Unauthenticated: As in :meth:`client`.
        """
        assert self._issuer_keys is not None
        if self._asking is None:  # all who wait share it
            self._asking = asyncio.ensure_future(asyncio.to_thread(self._issuer_keys.refresh))
            self._asking.add_done_callback(self._asked)
        await asyncio.wait((self._asking,))
        try:
            return self._client(call)
        except Refused as error:
            raise self._refusal(call, error) from None

    def _asked(self, _: object) -> None:
        self._asking = None

    def _client(self, call: Credentials) -> Client:
        other = False
        if self._tokens is not None and (given := call.header(AUTHORIZATION)) is not None:
            scheme, _, token = given.partition(" ")
            if scheme.lower() == "bearer":
                return self._tokens.client(token.strip())
            other = True  # that of a proxy, perhaps
        if self._keys is not None and (given := call.header(API_KEY)) is not None:
            return self._keys().client(given, time.time())
        if self._tokens is not None or self._keys is not None:
            raise Refused("authorization is not a Bearer token" if other else "no credentials")
        told = call.certificate()
        if told is None or self._certificates is None:
            raise Refused("no certificate came with the connection")
        return self._certificates.client(told)

    def _refusal(self, call: Credentials, why: Refused) -> Unauthenticated:
        self._log.refused(call.method, call.peer(), str(why))
        return Unauthenticated()
