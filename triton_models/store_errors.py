"""What can be wrong with a release store.

StoreError
├── BadName           a line or release that cannot be in a path
├── FilesAltered      what lies in the store is not what was released
├── FilesDiffer       the staged models are not those of the manifest
├── ReleaseExists     releases are never changed
├── ReleaseNotFound
├── RoutesChanged     somebody else changed the routes first
├── Unreadable        a file of the store cannot be understood
└── Untrusted         a manifest without the signature that it must have
"""

from __future__ import annotations

from collections.abc import Sequence


class StoreError(Exception):
    """Root of everything that a release store refuses or cannot do."""


class BadName(StoreError):
    """A name that no line or release has."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} cannot be in a store: {reason}.")
        self.name = name


def _different(missing: Sequence[str], unexpected: Sequence[str], changed: Sequence[str]) -> str:
    parts = (("missing", missing), ("not in the manifest", unexpected), ("changed", changed))
    return "; ".join(f"{what}: {', '.join(paths)}" for what, paths in parts if paths)


class FilesAltered(StoreError):
    """A release's models in the store are not those that its manifest names."""

    def __init__(
        self,
        line: str,
        release: str,
        missing: Sequence[str],
        unexpected: Sequence[str],
        changed: Sequence[str],
    ) -> None:
        detail = _different(missing, unexpected, changed)
        super().__init__(f"The files of {line}/{release} are not those released ({detail}).")
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.changed = tuple(changed)


class FilesDiffer(StoreError):
    """The staged models and ``manifest.files`` do not agree; nothing was published."""

    def __init__(
        self, missing: Sequence[str], unexpected: Sequence[str], changed: Sequence[str]
    ) -> None:
        detail = _different(missing, unexpected, changed)
        super().__init__(f"The models are not those of the manifest ({detail}).")
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.changed = tuple(changed)


class ReleaseExists(StoreError):
    """The name is taken."""

    def __init__(self, line: str, release: str) -> None:
        super().__init__(
            f"{line}/{release} is already published, and a release is never changed:"
            " choose another name."
        )
        self.line = line
        self.release = release


class ReleaseNotFound(StoreError):
    """There is no manifest of that name."""

    def __init__(self, line: str, release: str, store: str) -> None:
        super().__init__(f"{store} has no release {line}/{release}.")
        self.line = line
        self.release = release


class RoutesChanged(StoreError):
    """Route file ``after`` is no longer, or not yet, the highest."""

    def __init__(self, after: int, current: int) -> None:
        super().__init__(
            f"The routes were changed by somebody else (number {current}, expected {after}):"
            " look at them again and repeat."
        )
        self.after = after
        self.current = current


class Unreadable(StoreError):
    """A file that is torn, foreign or of a later version."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}.")
        self.path = path
        self.reason = reason


class Untrusted(StoreError):
    """A manifest that is not signed, or not by whom it must be, or not as it is now."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} is not to be trusted: {reason}.")
        self.path = path
        self.reason = reason
