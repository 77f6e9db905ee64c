"""Where releases lie: a folder or a bucket, written so that nobody ever sees half a release.

    models/<line>__<release>[__<step>]/    Triton's model repository
    releases/<line>/<release>.json         the manifest, written last: without it, no release
    releases/<line>/<release>.sig          its signature, if it is signed
    reports/<line>/<release>/              for people
    routes/<number>.yaml                   which releases answer; the highest number is in force

Manifests and route files are only ever created, never changed; of two writers
of one name, one wins and the other is told.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from triton_models.hashing import file_hashes
from triton_models.release import Manifest, Routes, check_release_name, ensemble_name
from triton_models.storage import Storage, open_storage
from triton_models.store_errors import (
    BadName,
    FilesAltered,
    FilesDiffer,
    ReleaseExists,
    ReleaseNotFound,
    RoutesChanged,
    Unreadable,
)

_LINE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ROUTE_FILE = re.compile(r"(\d{6,})\.yaml")

Sign = Callable[[bytes], bytes]
"""Returns the signature of a content."""


class ReleaseStore:
    """The releases in a folder, or at any URL that fsspec knows.

    Every method raises a subclass of ``StoreError`` for what it refuses; errors
    of the disk or the network come through as they are (``OSError``).

    Args:
        url: The folder, which need not exist yet, or the URL.
        storage: Used instead of what is at ``url``, if given.
    """

    def __init__(self, url: str | Path, storage: Storage | None = None) -> None:
        self.url = str(url)
        self._storage = storage or open_storage(url)

    @property
    def models_path(self) -> str:
        """Where Triton reads the models: an absolute path, or a URL."""
        return self._storage.location("models")

    @property
    def remote(self) -> bool:
        """Whether it lies behind a network, where an upload may have to be gone on with."""
        return "://" in self.models_path

    def publish(
        self,
        manifest: Manifest,
        models: Path,
        reports: Mapping[str, bytes],
        sign: Sign | None = None,
    ) -> str:
        """Publish a release, wholly or not at all.

        Args:
            manifest: What is published.
            models: Local folder that holds the release's models and nothing else.
            reports: Files for people, by their path below the release's reports.
            sign: Signs the manifest, which has the hash of everything else.

        Returns:
            The manifest's location.

        Raises:
            FilesDiffer: If the models are not those of ``manifest.files``.
            ReleaseExists: If the name is taken.
        """
        line, release = _checked(manifest.line, manifest.release)
        _check_files(manifest, models)
        if sign is not None:
            manifest = manifest.model_copy(update={"signature": f"{release}.sig"})
        written = manifest.model_dump_json(indent=2).encode()
        signature = sign(written) if sign is not None else None
        with self._storage.locked():
            if f"{release}.json" in self._storage.names(f"releases/{line}"):
                raise ReleaseExists(line, release)
            for folder in sorted(models.iterdir()):
                self._storage.replace_folder(f"models/{folder.name}", folder)
            for name, content in reports.items():
                self._storage.replace(f"reports/{line}/{release}/{name}", content)
            if signature is not None:
                self._storage.replace(_signature_path(line, release), signature)
            path = _manifest_path(line, release)
            try:
                self._storage.create(path, written)
            except FileExistsError:
                raise ReleaseExists(line, release) from None
            for folder in models.iterdir():
                self._storage.finish(f"models/{folder.name}")
        return self._storage.location(path)

    def manifest(self, line: str, release: str) -> Manifest:
        """Return the manifest of a release.

        Raises:
            ReleaseNotFound: If there is no such release.
            Unreadable: If its manifest is damaged or of another release.
        """
        return self.understood(line, release, self.manifest_bytes(line, release))

    def manifest_bytes(self, line: str, release: str) -> bytes:
        """Return a release's manifest as it was written, which is what a signature signs.

        Raises:
            ReleaseNotFound: If there is no such release.
        """
        try:
            return self._storage.read(_manifest_path(*_checked(line, release)))
        except FileNotFoundError:
            raise ReleaseNotFound(line, release, self._storage.location("")) from None

    def signature(self, line: str, release: str) -> bytes | None:
        """Return the signature of a release's manifest, if it has one."""
        try:
            return self._storage.read(_signature_path(*_checked(line, release)))
        except FileNotFoundError:
            return None

    def understood(self, line: str, release: str, content: bytes) -> Manifest:
        """Return the manifest that was written so.

        Raises:
            Unreadable: If it is damaged or of another release.
        """
        path = _manifest_path(line, release)
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError as error:
            raise Unreadable(self._storage.location(path), _first(error)) from error
        if (manifest.line, manifest.release) != (line, release):
            named = f"it is the manifest of {manifest.line}/{manifest.release}"
            raise Unreadable(self._storage.location(path), named)
        return manifest

    def check_files(self, manifest: Manifest) -> None:
        """Check that the models of a release are those of its manifest, byte by byte.

        Raises:
            FilesAltered: If any is missing, changed, or more than was released.
        """
        found = {
            f"{folder}/{path}": digest
            for folder in self._model_folders(manifest.line, manifest.release)
            for path, digest in self._storage.hashes(f"models/{folder}").items()
        }
        if any(different := _different(manifest.files, found)):
            raise FilesAltered(manifest.line, manifest.release, *different)

    def model_file(self, manifest: Manifest, path: str) -> bytes:
        """Return a file of a release, by its path below ``models/``, as it was released.

        Raises:
            FilesAltered: If it is missing, changed, or was never released.
        """
        line, release = manifest.line, manifest.release
        if path not in manifest.files:
            raise FilesAltered(line, release, [path], [], [])
        try:
            content = self._storage.read(f"models/{path}")
        except FileNotFoundError:
            raise FilesAltered(line, release, [path], [], []) from None
        if hashlib.sha256(content).hexdigest() != manifest.files[path]:
            raise FilesAltered(line, release, [], [], [path])
        return content

    def fetch_models(self, manifest: Manifest, target: Path) -> None:
        """Give the models of a release, and nothing else, in a local folder; do not write there."""
        target.mkdir(parents=True)
        for folder in self._model_folders(manifest.line, manifest.release):
            self._storage.fetch_folder(f"models/{folder}", target / folder)

    def report(self, line: str, release: str, name: str) -> bytes | None:
        """Return a file of a release's reports, if there is one."""
        line, release = _checked(line, release)
        try:
            return self._storage.read(f"reports/{line}/{release}/{name}")
        except FileNotFoundError:
            return None

    def _model_folders(self, line: str, release: str) -> list[str]:
        own = ensemble_name(line, release)
        return [
            name
            for name in self._storage.names("models")
            if name == own or name.startswith(f"{own}__")
        ]

    def remove(self, line: str, release: str) -> None:
        """Remove a release: its manifest first, so that nobody sees a release without models."""
        line, release = _checked(line, release)
        self._storage.remove(_manifest_path(line, release))
        self._storage.remove(_signature_path(line, release))
        for folder in self._model_folders(line, release):
            self._storage.remove(f"models/{folder}")
        self._storage.remove(f"reports/{line}/{release}")

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
        return number, self.routes_of(number) if number else Routes()

    def routes_of(self, number: int) -> Routes:
        """Return the content of one route file, in force or not.

        Raises:
            Unreadable: If it is damaged or missing.
        """
        path = _routes_path(number)
        try:
            return Routes.model_validate(yaml.safe_load(self._storage.read(path)))
        except FileNotFoundError as error:
            raise Unreadable(self._storage.location(path), "it is missing") from error
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


def _signature_path(line: str, release: str) -> str:
    return f"releases/{line}/{release}.sig"


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
    missing, unexpected, changed = _different(manifest.files, staged)
    own = (f"{manifest.ensemble}/", f"{manifest.ensemble}__")
    # Another release's model would be replaced by it.
    unexpected += [path for path in staged if path in manifest.files and not path.startswith(own)]
    if missing or unexpected or changed:
        raise FilesDiffer(missing, unexpected, changed)


def _different(
    released: Mapping[str, str], found: Mapping[str, str]
) -> tuple[list[str], list[str], list[str]]:
    """Return what is missing, what is more than was released, and what is changed, sorted."""
    return (
        sorted(released.keys() - found.keys()),
        sorted(found.keys() - released.keys()),
        sorted(path for path in released.keys() & found.keys() if released[path] != found[path]),
    )


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong, and how many more there are."""
    first, *more = error.errors()
    where = ".".join(str(part) for part in first["loc"])
    text = f"{where}: {first['msg']}" if where else first["msg"]
    return f"{text} (and {len(more)} more)" if more else text
