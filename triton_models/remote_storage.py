"""A release store's files in a bucket, or in anything else that fsspec knows."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import fsspec

from triton_models.hashing import file_hashes


class RemoteStorage:
    """A bucket, or anything else behind fsspec: a file appears whole or not at all there.

    Whatever goes wrong on the way is an ``OSError``, as on a disk.
    """

    def __init__(self, filesystem: fsspec.AbstractFileSystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def location(self, path: str) -> str:
        """Return a URL."""
        return str(self._filesystem.unstrip_protocol(self._path(path)))

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        with _as_os_errors():
            # Not what a listing cached: other machines write here.
            self._filesystem.invalidate_cache()
            return bytes(self._filesystem.cat_file(self._path(path)))

    def create(self, path: str, content: bytes) -> None:
        """Write a new file, by the storage's own create-only request."""
        with _as_os_errors():
            self._filesystem.makedirs(self._path(path).rpartition("/")[0], exist_ok=True)
            self._filesystem.pipe_file(self._path(path), content, mode="create")

    def replace(self, path: str, content: bytes) -> None:
        """Write a file, over an older one if there is one."""
        with _as_os_errors():
            self._filesystem.makedirs(self._path(path).rpartition("/")[0], exist_ok=True)
            self._filesystem.pipe_file(self._path(path), content)

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted."""
        with _as_os_errors():
            self._filesystem.invalidate_cache()
            try:
                entries = self._filesystem.ls(self._path(path), detail=False)
            except FileNotFoundError:
                return []
            return sorted(entry.rstrip("/").rpartition("/")[2] for entry in entries)

    def hashes(self, path: str) -> dict[str, str]:
        """Return the sha256 of every file below a folder, reading all of it."""
        with _as_os_errors():
            hashes = {}
            for name in self._sizes(path):
                with self._filesystem.open(f"{self._path(path)}/{name}", "rb") as content:
                    hashes[name] = hashlib.file_digest(content, "sha256").hexdigest()
            return hashes

    def remove(self, path: str) -> None:
        """Remove a file, or all that is below a folder."""
        with _as_os_errors(), contextlib.suppress(FileNotFoundError):
            self._filesystem.invalidate_cache()
            self._filesystem.rm(self._path(path), recursive=True)

    def replace_folder(self, path: str, source: Path) -> None:
        """Upload file by file: half a folder can be seen, but no manifest names it yet.

        Each file that was sent whole is noted beside the store's content, so that another try
        sends the rest only.
        """
        with _as_os_errors():
            sent, sizes = self._sent(path), self._sizes(path)
            wanted = file_hashes(source)
            for name, digest in wanted.items():
                file = source / name
                if sent.get(name) == digest and sizes.get(name) == file.stat().st_size:
                    continue
                target = f"{self._path(path)}/{name}"
                self._filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._filesystem.put_file(str(file), target)
                sent[name] = digest
                self.replace(_note(path), json.dumps(sent).encode())
            for name in sizes.keys() - wanted.keys():
                self._filesystem.rm_file(f"{self._path(path)}/{name}")
            self._check_sizes(path, source, wanted)

    def finish(self, path: str) -> None:
        """Forget what was noted of an upload."""
        self.remove(_note(path))

    def fetch_folder(self, path: str, target: Path) -> None:
        """Download every file."""
        with _as_os_errors():
            for name in self._sizes(path):
                local = target / name
                local.parent.mkdir(parents=True, exist_ok=True)
                self._filesystem.get_file(f"{self._path(path)}/{name}", str(local))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nothing to hold: buckets have no locks. The create-only manifest decides."""
        yield

    def _sizes(self, path: str) -> dict[str, int]:
        """Return the bytes of every file below a folder, by its path there."""
        self._filesystem.invalidate_cache()
        folder = self._path(path)
        found = self._filesystem.find(folder, detail=True)
        return {
            file.removeprefix(f"{folder}/"): int(entry["size"])
            for file, entry in sorted(found.items())
        }

    def _sent(self, path: str) -> dict[str, str]:
        try:
            return dict(json.loads(self.read(_note(path))))
        except (FileNotFoundError, ValueError):
            return {}

    def _check_sizes(self, path: str, source: Path, names: Iterable[str]) -> None:
        sizes = self._sizes(path)
        for name in names:
            size = (source / name).stat().st_size
            if sizes.get(name) != size:
                raise OSError(
                    f"{self.location(f'{path}/{name}')} has {sizes.get(name)} bytes after the "
                    f"upload, not {size}"
                )

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"


def _note(path: str) -> str:
    return f"uploads/{path.replace('/', '.')}.json"


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turn what a library of some storage raises into an ``OSError``."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
