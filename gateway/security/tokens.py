"""Tokens of an issuer (JWT): checked once, and then known until they expire."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt
from cachetools import LRUCache

from gateway.security.client import Client, ClientKind, client_id, known_client
from gateway.security.errors import Refused
from gateway.security.key_sets import KeySet
from gateway.security.permissions import Grants, Methods

MAX_TOKEN_BYTES = 8192
MAX_NAME = 256

_CLAIMS = ("exp", "iss", "aud", "sub")


class UnknownKey(Refused):
    """A token names a key that is not known: perhaps it is not known yet."""


@dataclass(frozen=True)
class TokenRules:
    """What a token must say.

    Attributes:
        issuer: Its ``iss``.
        audiences: Of which its ``aud`` must name one.
        algorithms: How it may be signed.
        leeway_s: How far the issuer's clock may be from ours, in seconds.
        permissions_claim: Where its permissions are: a text with spaces, or a list.
        permissions_prefix: What those begin with that are ours.
    """

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    leeway_s: float = 30.0
    permissions_claim: str = "scope"
    permissions_prefix: str = "trident:"


class Tokens:
    """Tells whose token it is.

    Args:
        keys: Returns the keys of the issuer as they are now.
        rules: What a token must say.
        methods: What can be permitted.
        grants: What is permitted beside what the token says.
        max_known: Tokens that are remembered.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        keys: Callable[[], KeySet],
        rules: TokenRules,
        methods: Methods,
        grants: Callable[[], Grants] = Grants,
        *,
        max_known: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._methods = methods
        self._grants = grants
        self._clock = clock
        # By their hashes: what can be looked up here cannot be used elsewhere.
        self._known: LRUCache[bytes, tuple[Client, float]] = LRUCache(max_known)

    def forget(self) -> None:
        """Check every token anew: keys or permissions have changed."""
        self._known = LRUCache(self._known.maxsize)

    def client(self, token: str) -> Client:
        """Return whose token it is.

        Raises:
            UnknownKey: If the key that it names is not known.
            Refused: If it does not convince.
        """
        encoded = token.encode("latin-1", "replace")
        digest = sha256(encoded).digest()
        known = self._known
        found = known.get(digest)
        if found is not None:
            client, until = found
            if self._clock() < until:
                return client
        claims = self._checked(encoded)
        client = self._client(claims)
        known[digest] = client, int(claims["exp"]) + self._rules.leeway_s
        return client

    def _checked(self, token: bytes) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_BYTES:
            raise Refused(f"a token of {len(token)} bytes, {MAX_TOKEN_BYTES} are allowed")
        rules = self._rules
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in rules.algorithms:
                raise Refused(f"signed by {str(algorithm)[:20]!r}, which is not allowed")
            key = self._keys().find(header.get("kid"), algorithm)
            if key is None:
                raise UnknownKey("signed with a key that is not known")
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=rules.issuer,
                audience=rules.audiences,
                leeway=rules.leeway_s,
                options={"require": list(_CLAIMS)},
            )
        except jwt.PyJWTError as error:  # whose text can quote claims
            raise Refused(_REASONS.get(type(error), type(error).__name__)) from None
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Refused(f"malformed ({type(error).__name__})") from None

    def _client(self, claims: Mapping[str, Any]) -> Client:
        name = claims["sub"]
        if not (isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()):
            raise Refused("its subject is no name")
        granted = claims.get(self._rules.permissions_claim, ())
        prefix = self._rules.permissions_prefix
        listed = granted.split() if isinstance(granted, str) else granted
        patterns = [
            one.removeprefix(prefix)
            for one in (listed if isinstance(listed, list) else ())
            if isinstance(one, str) and one.startswith(prefix)
        ]
        patterns += self._grants().of(client_id(ClientKind.TOKEN, name))
        return known_client(ClientKind.TOKEN, name, self._methods.permitted(patterns))


_REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not valid yet",
    jwt.InvalidIssuedAtError: "issued in the future",
    jwt.InvalidAudienceError: "for another audience",
    jwt.InvalidIssuerError: "from another issuer",
    jwt.InvalidSignatureError: "forged: the signature is not the key's",
    jwt.InvalidAlgorithmError: "signed in a way that is not allowed",
    jwt.MissingRequiredClaimError: "without a claim that is required",
    jwt.DecodeError: "malformed",
}
