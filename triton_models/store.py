"""Where releases lie: a folder or a bucket, written so that nobody ever sees half a release.

    models/<line>__<release>[__<step>]/    Triton's model repository
    releases/<line>/<release>.json         the manifest, written last: without it, no release
    reports/<line>/<release>/              for people
    routes/<number>.yaml                   which releases answer; the highest number is in force

Manifests and route files are only ever created, never changed; of two writers
of one name, one wins and the other is told.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from triton_models.release import Manifest, Routes, check_release_name
from triton_models.storage import Storage, open_storage
from triton_models.store_errors import (
    BadName,
    FilesDiffer,
    ReleaseExists,
    ReleaseNotFound,
    RoutesChanged,
    Unreadable,
)

_LINE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ROUTE_FILE = re.compile(r"(\d{6,})\.yaml")


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below ``folder``, by its path there, with ``/``."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[path.relative_to(folder).as_posix()] = digest
    return hashes


class ReleaseStore:
    """The releases in a folder, or at any URL that fsspec knows.

    Every method raises a subclass of ``StoreError`` for what it refuses; errors
    of the disk or the network come through as they are (``OSError``).

    Args:
        url: The folder, which need not exist yet, or the URL.
        storage: Used instead of what is at ``url``, if given.
    """

    def __init__(self, url: str | Path, storage: Storage | None = None) -> None:
        self._storage = storage or open_storage(url)

    @property
    def models_path(self) -> str:
        """Where Triton reads the models: an absolute path, or a URL."""
        return self._storage.location("models")

    def publish(self, manifest: Manifest, models: Path, reports: Mapping[str, bytes]) -> str:
        """Publish a release, wholly or not at all.

        Args:
            manifest: What is published.
            models: Local folder that holds the release's models and nothing else.
            reports: Files for people, by their path below the release's reports.

        Returns:
            The manifest's location.

        Raises:
            FilesDiffer: If the models are not those of ``manifest.files``.
            ReleaseExists: If the name is taken.
        """
        line, release = _checked(manifest.line, manifest.release)
        _check_files(manifest, models)
        with self._storage.locked():
            if f"{release}.json" in self._storage.names(f"releases/{line}"):
                raise ReleaseExists(line, release)
            for folder in sorted(models.iterdir()):
                self._storage.replace_folder(f"models/{folder.name}", folder)
            for name, content in reports.items():
                self._storage.replace(f"reports/{line}/{release}/{name}", content)
            path = _manifest_path(line, release)
            try:
                self._storage.create(path, manifest.model_dump_json(indent=2).encode())
            except FileExistsError:
                raise ReleaseExists(line, release) from None
        return self._storage.location(path)

    def manifest(self, line: str, release: str) -> Manifest:
        """Return the manifest of a release.

        Raises:
            ReleaseNotFound: If there is no such release.
            Unreadable: If its manifest is damaged or of another release.
        """
        path = _manifest_path(*_checked(line, release))
        try:
            manifest = Manifest.model_validate_json(self._storage.read(path))
        except FileNotFoundError:
            raise ReleaseNotFound(line, release, self._storage.location("")) from None
        except ValidationError as error:
            raise Unreadable(self._storage.location(path), _first(error)) from error
        if (manifest.line, manifest.release) != (line, release):
            named = f"it is the manifest of {manifest.line}/{manifest.release}"
            raise Unreadable(self._storage.location(path), named)
        return manifest

    def manifest_path(self, line: str, release: str) -> str:
        """Return where a release's manifest is, or would be."""
        return self._storage.location(_manifest_path(*_checked(line, release)))

    def report_path(self, line: str, release: str) -> str:
        """Return the folder of a release's reports."""
        line, release = _checked(line, release)
        return self._storage.location(f"reports/{line}/{release}")

    def releases(self) -> list[tuple[str, str]]:
        """Return line and release of everything published, sorted."""
        return sorted(
            (line, name.removesuffix(".json"))
            for line in self._storage.names("releases")
            for name in self._storage.names(f"releases/{line}")
            if name.endswith(".json")
        )

    def routes(self) -> tuple[int, Routes]:
        """Return number and content of the routes in force; 0 and no line if there are none.

        Raises:
            Unreadable: If the file in force is damaged; an older one is never used instead.
        """
        number = self._routes_number()
        if number == 0:
            return 0, Routes()
        path = _routes_path(number)
        try:
            return number, Routes.model_validate(yaml.safe_load(self._storage.read(path)))
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise Unreadable(self._storage.location(path), f"no YAML: {reason}") from error
        except ValidationError as error:
            raise Unreadable(self._storage.location(path), _first(error)) from error

    def add_routes(self, routes: Routes, after: int) -> int:
        """Put routes in force if ``after`` is still the number in force; return theirs.

        Raises:
            RoutesChanged: If it is not.
        """
        if (current := self._routes_number()) != after:
            raise RoutesChanged(after, current)
        content = yaml.safe_dump(routes.model_dump(mode="json"), sort_keys=True)
        try:
            self._storage.create(_routes_path(after + 1), content.encode())
        except FileExistsError:
            raise RoutesChanged(after, self._routes_number()) from None
        return after + 1

    def _routes_number(self) -> int:
        matches = map(_ROUTE_FILE.fullmatch, self._storage.names("routes"))
        return max((int(match[1]) for match in matches if match), default=0)


def _manifest_path(line: str, release: str) -> str:
    return f"releases/{line}/{release}.json"


def _routes_path(number: int) -> str:
    return f"routes/{number:06d}.yaml"


def _checked(line: str, release: str) -> tuple[str, str]:
    if not _LINE.fullmatch(line):
        raise BadName(line, "a line is of a-z and 0-9, with single '-' between them")
    try:
        return line, check_release_name(release)
    except ValueError as error:
        raise BadName(release, str(error)) from None


def _check_files(manifest: Manifest, models: Path) -> None:
    staged = file_hashes(models)
    own = (manifest.ensemble, f"{manifest.ensemble}__")
    unexpected = [
        path
        for path in staged
        if path not in manifest.files
        # Another release's model would be replaced by it.
        or not (path.startswith((f"{own[0]}/", own[1])))
    ]
    missing = [path for path in manifest.files if path not in staged]
    changed = [
        path for path, digest in staged.items() if manifest.files.get(path, digest) != digest
    ]
    if missing or unexpected or changed:
        raise FilesDiffer(missing, unexpected, changed)


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong, and how many more there are."""
    first, *more = error.errors()
    where = ".".join(str(part) for part in first["loc"])
    text = f"{where}: {first['msg']}" if where else first["msg"]
    return f"{text} (and {len(more)} more)" if more else text
