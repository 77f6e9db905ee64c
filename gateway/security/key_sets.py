"""The public keys of whoever issues tokens: from a file, or from a URL that changes its keys.

What is fetched replaces what was known only if it can be used; otherwise the old keys stay.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import requests
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from gateway.security.algorithms import ALGORITHMS
from gateway.security.errors import Refused, UnusableFile
from gateway.security.hiding import without_secrets

_log = logging.getLogger(__name__)

_MOST_BYTES = 1024 * 1024
_FETCH_S = 5.0
_WHOLE_FETCH_S = 10.0
"""For all of it: an issuer that sends a byte now and then would be waited for without an end."""
COOLDOWN_S = 10.0
"""Between two fetches because of keys that are not known: anybody can send such tokens."""

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}

KeyData = Mapping[str, Any]


class KeySet:
    """Public keys, as an issuer publishes them (JWKS, RFC 7517).

    Args:
        keys: The entries of ``keys``; those that are not for signatures are left out.
        algorithms: Those that are allowed.
    """

    def __init__(self, keys: Iterable[KeyData], algorithms: Iterable[str]) -> None:
        self.faults: list[str] = []
        allowed = set(algorithms)
        self._keys: list[tuple[str | None, dict[str, PyJWK]]] = []
        for place, data in enumerate(keys):
            fitting = self._fitting(place, data, allowed)
            if fitting:
                self._keys.append((data.get("kid"), fitting))

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """Return the key of a token; without an ID, the only one that there is.

        Raises:
            Refused: If the key that is named is for other algorithms.
        """
        if key_id is None:
            if len(self._keys) != 1:
                raise Refused("it names no key, and there is not just one")
            named = [self._keys[0][1]]
        else:
            named = [fitting for name, fitting in self._keys if name == key_id]
        if not named:
            return None
        for fitting in named:
            if algorithm in fitting:
                return fitting[algorithm]
        raise Refused(f"the key that it names is not for {algorithm}")

    def _fitting(self, place: int, data: KeyData, allowed: set[str]) -> dict[str, PyJWK]:
        """Return what a key can be used with: its own algorithm, or those of its type."""
        if not isinstance(data, Mapping) or data.get("use", "sig") != "sig":
            return {}
        names = set(ALGORITHMS.get(str(data.get("kty")), ())) & allowed
        names = {
            one
            for one in names
            if data.get("crv") == _CURVES.get(one) and data.get("alg", one) == one
        }
        try:
            return {name: PyJWK(dict(data), name) for name in sorted(names)}
        except (PyJWTError, ValueError, TypeError) as error:  # whose text may hold the key
            self.faults.append(f"keys.{place}: cannot be read ({type(error).__name__})")
            return {}


class KeySource(Protocol):
    """Where keys come from."""

    def read(self) -> KeySet:
        """Return the keys as they are now.

        Raises:
            UnusableFile: If there are none to be had.
        """
        ...


class FileKeys:
    """Keys in a file.

    Args:
        path: A JWKS.
        algorithms: Those that are allowed.
    """

    def __init__(self, path: Path, algorithms: Iterable[str]) -> None:
        self.path = path
        self._algorithms = tuple(algorithms)

    def read(self) -> KeySet:
        """Return the keys as they are now."""
        try:
            return parsed(self.path.read_bytes(), self._algorithms)
        except OSError as error:
            raise UnusableFile(self.path, {"": error.strerror or str(error)}) from error
        except ValueError as error:
            raise UnusableFile(self.path, {"": str(error)}) from error


class UrlKeys:
    """Keys that an issuer publishes.

    Args:
        url: Of the JWKS.
        algorithms: Those that are allowed.
        within_s: Time that a fetch has in all, in seconds.
    """

    def __init__(
        self, url: str, algorithms: Iterable[str], within_s: float = _WHOLE_FETCH_S
    ) -> None:
        self._url = url
        self._algorithms = tuple(algorithms)
        self._within_s = within_s
        self._fetching: threading.Thread | None = None

    def read(self) -> KeySet:
        """Return the keys as they are now."""
        shown = without_secrets(self._url)
        if self._fetching is not None and self._fetching.is_alive():
            raise UnusableFile(shown, {"": "has yet to answer what it was asked before"})
        answers: list[bytes | str] = []
        # A time limit of requests is for each read, which one that drips never reaches.
        self._fetching = threading.Thread(
            target=lambda: answers.append(self._fetch()), name="jwks", daemon=True
        )
        self._fetching.start()
        self._fetching.join(self._within_s)
        answer = answers[0] if answers else f"has not answered whole in {self._within_s:g} s"
        if isinstance(answer, str):
            raise UnusableFile(shown, {"": answer})
        try:
            return parsed(answer, self._algorithms)
        except ValueError as error:
            raise UnusableFile(shown, {"": str(error)}) from error

    def _fetch(self) -> bytes | str:
        """Return what the URL answers, or why that is nothing."""
        try:
            # Where it leads elsewhere, somebody else would say which keys are right.
            answer = requests.get(self._url, timeout=_FETCH_S, allow_redirects=False, stream=True)
            with answer:
                if answer.status_code != requests.codes.ok:
                    return f"answers {answer.status_code}"
                return bytes(answer.raw.read(_MOST_BYTES + 1, decode_content=True))
        except Exception as error:  # whose text has the URL
            return f"cannot be had ({type(error).__name__})"


def parsed(data: bytes, algorithms: Iterable[str]) -> KeySet:
    """Return the keys of a JWKS.

    Raises:
        ValueError: If there is none that can be used; the text holds nothing of it.
    """
    if len(data) > _MOST_BYTES:
        raise ValueError(f"is larger than {_MOST_BYTES} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise ValueError("has no list 'keys'")
    key_set = KeySet(keys, algorithms)
    if key_set.faults:
        raise ValueError("; ".join(key_set.faults))
    if not key_set:
        raise ValueError("has no public key for signatures with an allowed algorithm")
    return key_set


class KnownKeys:
    """The keys that tokens are checked with now.

    Args:
        source: Where they come from.
        clock: Seconds, of a clock that only goes forward.

    Attributes:
        current: As they are now.
        on_change: Called when they may have changed.

    Raises:
        UnusableFile: If there are none to begin with.
    """

    def __init__(
        self,
        source: KeySource,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.current = source.read()
        self._source = source
        self.on_change: Callable[[], None] = lambda: None
        self._clock = clock
        self._lock = threading.Lock()
        self._tried_at = clock()

    @property
    def may_ask(self) -> bool:
        """Whether an unknown key is a reason to look again."""
        return self._clock() - self._tried_at >= COOLDOWN_S

    def renew(self) -> None:
        """Look again.

        Raises:
            UnusableFile: If what is there now cannot be used; then nothing changes.
        """
        with self._lock:
            self._tried_at = self._clock()
            self.current = self._source.read()
        self.on_change()

    def refresh(self) -> bool:
        """Look again; return whether there are new keys. What cannot be used changes nothing."""
        try:
            self.renew()
        except UnusableFile as error:
            _log.warning("The keys of tokens stay as they were: %s", error)
            return False
        return True
