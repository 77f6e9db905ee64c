"""What the settings say of who may call, as objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.security.watching import Watch, Watched
from gateway.settings import Settings
from gateway.settings_security import OF_CALLERS
from gateway.telemetry.metrics.instruments import STALE_FILES
from gateway.telemetry.metrics.readings import Reading
from gateway.transport.api import api_methods
from gateway.transport.guarding import Guard

if TYPE_CHECKING:
    from gateway.security.authentication import Authenticator
    from gateway.security.key_sets import KeySource
    from gateway.security.permissions import Grants, Methods
    from gateway.security.tokens import TokenRules


class Guarded:
    """What says who calls, kept up to date with its files.

    Args:
        settings: Say where those are.

    Attributes:
        guard: Stands before handlers.

    Raises:
        UnusableFile: If a file, or the keys of tokens, cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        authenticator, watched = build_authenticator(settings)
        self.guard = Guard(authenticator)
        self._settings = settings
        self._watch = Watch(watched)
        self._watch.start()

    def change(self, settings: Settings) -> None:
        """Go by other settings.

        Raises:
            UnusableFile: If a file, or the keys of tokens, cannot be used; then nothing changes.
        """
        if not any(getattr(settings, name) != getattr(self._settings, name) for name in OF_CALLERS):
            return
        authenticator, watched = build_authenticator(settings)
        self.guard.use(authenticator)
        self._watch.stop()
        self._settings = settings
        self._watch = Watch(watched)
        self._watch.start()

    def readings(self) -> Iterator[Reading]:
        """Yield how many calls were refused, and of how many files the old stay in force."""
        yield from self.guard.readings()
        yield Reading(STALE_FILES, (), self._watch.stale)

    def stop(self) -> None:
        """Follow the files no more."""
        self._watch.stop()


@contextmanager
def guarding(settings: Settings) -> Iterator[Guarded | None]:
    """Give what says who calls, if calls must say so; meanwhile it follows the files.

    Raises:
        UnusableFile: If a file, or the keys of tokens, cannot be used.
    """
    if not settings.asks_for_credentials:
        yield None
        return
    guarded = Guarded(settings)
    try:
        yield guarded
    finally:
        guarded.stop()


def build_authenticator(settings: Settings) -> tuple[Authenticator, list[Watched]]:
    """Return what says who calls, and what it has to be kept up to date with.

    Raises:
        UnusableFile: If a file, or the keys of tokens, cannot be used.
    """
    from gateway.security.authentication import Authenticator
    from gateway.security.certificates import Certificates
    from gateway.security.key_sets import KnownKeys
    from gateway.security.tokens import Tokens

    methods = api_methods()
    watched: list[Watched] = []
    grants = _Grants(settings.permissions_file, methods)
    keys = _ApiKeys(settings.keys_file, methods) if settings.keys_file else None
    if keys is not None:
        watched.append(Watched("API keys", [keys.path], keys.read))
    tokens, issuer_keys = None, None
    if settings.jwt_keys is not None:
        source = key_source(settings.jwt_keys, settings.jwt_algorithms)
        issuer_keys = KnownKeys(source)
        known = issuer_keys
        tokens = Tokens(lambda: known.current, token_rules(settings), methods, grants.given)
        known.on_change = tokens.forget
        watched.append(_watched_keys(settings, issuer_keys.renew))
    certificates = None
    if settings.tls_client_ca is not None:
        certificates = Certificates(methods, grants.if_any)
    if settings.permissions_file is not None:

        def read_grants() -> None:
            grants.read()
            for one in (tokens, certificates):
                if one is not None:
                    one.forget()

        watched.append(Watched("Permissions", [settings.permissions_file], read_grants))
    authenticator = Authenticator(
        tokens=tokens,
        issuer_keys=issuer_keys,
        keys=(lambda: keys.current) if keys is not None else None,
        certificates=certificates,
    )
    return authenticator, watched


def key_source(place: str, algorithms: tuple[str, ...]) -> KeySource:
    """Return where the keys of tokens come from."""
    from gateway.security.key_sets import FileKeys, UrlKeys

    return UrlKeys(place, algorithms) if "://" in place else FileKeys(Path(place), algorithms)


def token_rules(settings: Settings) -> TokenRules:
    """Return what a token must say."""
    from gateway.security.tokens import TokenRules

    assert settings.jwt_issuer is not None  # the settings see to it
    return TokenRules(
        issuer=settings.jwt_issuer,
        audiences=settings.jwt_audience,
        algorithms=settings.jwt_algorithms,
        leeway_s=settings.jwt_leeway_s,
        permissions_claim=settings.jwt_permissions_claim,
        permissions_prefix=settings.jwt_permissions_prefix,
    )


def _watched_keys(settings: Settings, renew: Callable[[], object]) -> Watched:
    place = settings.jwt_keys or ""
    if "://" in place:
        return Watched("Keys of tokens", [], renew, every_s=settings.jwt_refresh_s)
    return Watched("Keys of tokens", [Path(place)], renew)


class _ApiKeys:
    """The API keys as they are now."""

    def __init__(self, path: Path, methods: Methods) -> None:
        self.path = path
        self._methods = methods
        self.read()

    def read(self) -> None:
        from gateway.security.keys import Keys, read_keys

        self.current = Keys(read_keys(self.path, self._methods), self._methods)


class _Grants:
    """The permissions as they are now."""

    def __init__(self, path: Path | None, methods: Methods) -> None:
        self._path = path
        self._methods = methods
        self._current: Grants | None = None
        self.read()

    def read(self) -> None:
        from gateway.security.permissions import read_grants

        if self._path is not None:
            self._current = read_grants(self._path, self._methods)

    def if_any(self) -> Grants | None:
        return self._current

    def given(self) -> Grants:
        from gateway.security.permissions import Grants

        return self._current or Grants()
