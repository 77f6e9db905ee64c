"""API keys: random, shown once, and kept as hashes only.

A key is ``trident_ID_SECRET``, with a secret of 256 random bits. Nothing can be found from its
SHA-256, and no guess is worth a try, so a slow hash, which is for passwords, would protect
nothing and cost each call.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.security.client import Client, ClientKind, known_client
from gateway.security.errors import Refused, UnusableFile
from gateway.security.permissions import Methods
from gateway.security.yaml_files import read_yaml

_PREFIX = "trident"
_ID_BYTES = 5
_SECRET_BYTES = 32
_KEY = re.compile(rf"{_PREFIX}_([0-9a-f]{{{2 * _ID_BYTES}}})_([A-Za-z0-9_-]{{43}})")


class KeyEntry(BaseModel):
    """A key as it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: str = Field(pattern=rf"^[0-9a-f]{{{2 * _ID_BYTES}}}$")
    client: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.@/-]+$")
    """Who has it. Several keys can be of one client: one goes when all use the other."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    permissions: tuple[str, ...] = Field(min_length=1)
    created: datetime
    expires: datetime | None = None

    @model_validator(mode="after")
    def _has_zones(self) -> KeyEntry:
        if any(time is not None and time.tzinfo is None for time in (self.created, self.expires)):
            raise ValueError("a time needs its zone, such as 2027-01-31T00:00:00Z")
        return self


class KeyFile(BaseModel):
    """The file of ``keys_file``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    keys: tuple[KeyEntry, ...] = ()


def read_keys(path: Path, methods: Methods) -> KeyFile:
    """Read a file of keys.

    Raises:
        UnusableFile: With everything that is wrong.
    """
    found = read_yaml(path, KeyFile, _unreadable)
    wrong: dict[str, str] = {}
    seen: set[str] = set()
    for entry in found.keys:
        if entry.id in seen:
            wrong[f"keys.{entry.id}"] = "is there twice"
        seen.add(entry.id)
        if unknown := methods.unknown(entry.permissions):
            wrong[f"keys.{entry.id}.permissions"] = (
                f"permits nothing: {', '.join(unknown)}; domains are {', '.join(methods.domains)}"
            )
    if wrong:
        raise UnusableFile(path, wrong)
    return found


def _unreadable(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "is not YAML"  # its own text can quote the file


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Let nobody else change a file of keys meanwhile, who asks the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives have no locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write_keys(path: Path, keys: KeyFile) -> None:
    """Put a file of keys in the place of the one that is there, whole or not at all."""
    text = yaml.safe_dump(keys.model_dump(mode="json", exclude_none=True), sort_keys=False)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def new_key(
    client: str, permissions: Sequence[str], expires: datetime | None = None
) -> tuple[str, KeyEntry]:
    """Return a new key, which nobody can read again, and what is kept of it."""
    key_id = secrets.token_hex(_ID_BYTES)
    key = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    entry = KeyEntry(
        id=key_id,
        client=client,
        sha256=sha256(key.encode()).hexdigest(),
        permissions=tuple(permissions),
        created=datetime.now(UTC).replace(microsecond=0),
        expires=expires,
    )
    return key, entry


class Keys:
    """The keys that are known.

    Args:
        file: All of them.
        methods: What can be permitted.
    """

    def __init__(self, file: KeyFile, methods: Methods) -> None:
        # Found by its hash, which nobody can choose: how long that takes tells nothing.
        self._known: dict[bytes, tuple[Client, float | None]] = {
            bytes.fromhex(one.sha256): (
                known_client(ClientKind.KEY, one.client, methods.permitted(one.permissions)),
                one.expires.timestamp() if one.expires else None,
            )
            for one in file.keys
        }

    def client(self, key: str, now: float) -> Client:
        """Return whose key it is.

        Args:
            key: As it came.
            now: Seconds since 1970.

        Raises:
            Refused: If nobody's, or not any more.
        """
        found = self._known.get(sha256(key.encode("latin-1", "replace")).digest())
        if found is None:
            shown = _KEY.fullmatch(key)
            raise Refused(f"no such key: {shown[1]}" if shown else "no key of this gateway's form")
        client, expires = found
        if expires is not None and now >= expires:
            raise Refused(f"the key of {client.id} has expired")
        return client
