"""The few things a release store does with files, on a folder and on whatever fsspec knows."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem


class Storage(Protocol):
    """Files below one root; every path is relative to it, with ``/``."""

    def location(self, path: str) -> str:
        """Return where a path is, for people and for Triton."""
        ...

    def read(self, path: str) -> bytes:
        """Return a file's content; FileNotFoundError if there is none."""
        ...

    def create(self, path: str, content: bytes) -> None:
        """Write a whole new file or, with FileExistsError, nothing."""
        ...

    def replace(self, path: str, content: bytes) -> None:
        """Write a file, over an older one if there is one."""
        ...

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; none if there is no such folder."""
        ...

    def hashes(self, path: str) -> dict[str, str]:
        """Return the sha256 of every file below a folder, by its path there.

        Reads every byte, a block at a time.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing if there is none."""
        ...

    def replace_folder(self, path: str, source: Path) -> None:
        """Copy a local folder so that readers see all of it or nothing.

        What an earlier try has copied whole need not be copied again.
        """
        ...

    def finish(self, path: str) -> None:
        """Forget what was noted to go on with the copy of a folder."""
        ...

    def fetch_folder(self, path: str, target: Path) -> None:
        """Give a folder's content at a local path that does not exist yet; do not write there."""
        ...

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other writers out, where the storage can."""
        ...


def open_storage(url: str | Path) -> Storage:
    """Return the storage at a path or at any URL that fsspec knows."""
    filesystem, root = fsspec.url_to_fs(str(url))
    if isinstance(filesystem, LocalFileSystem):
        return LocalStorage(Path(root))
    return RemoteStorage(filesystem, root)


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below ``folder``, by its path there, with ``/``."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[path.relative_to(folder).as_posix()] = digest
    return hashes


class LocalStorage:
    """A folder. Nothing is visible before it is whole, also after a crash."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def location(self, path: str) -> str:
        """Return an absolute path."""
        return str(self._root / path)

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        return (self._root / path).read_bytes()

    def create(self, path: str, content: bytes) -> None:
        """Write a new file: the link that gives it its name fails if there is one."""
        target = self._parent_made(path)
        with self._written(content) as staged:
            os.link(staged, target)

    def replace(self, path: str, content: bytes) -> None:
        """Write a file, over an older one if there is one."""
        target = self._parent_made(path)
        with self._written(content) as staged:
            staged.replace(target)

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted."""
        folder = self._root / path
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def finish(self, path: str) -> None:
        """Nothing was noted: a copy on one disk is not gone on with."""

    def hashes(self, path: str) -> dict[str, str]:
        """Return the sha256 of every file below a folder."""
        return file_hashes(self._root / path)

    def remove(self, path: str) -> None:
        """Take it out of sight in one step, then remove it."""
        with self._staging() as staging, contextlib.suppress(FileNotFoundError):
            (self._root / path).rename(staging / "old")

    def replace_folder(self, path: str, source: Path) -> None:
        """Copy beside the target's folder, then rename; what a crash left there goes first."""
        target = self._parent_made(path)
        with self._staging() as staging:
            shutil.copytree(source, staging / "new")
            if target.exists():
                target.rename(staging / "old")
            (staging / "new").rename(target)

    def fetch_folder(self, path: str, target: Path) -> None:
        """Link to the folder."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to((self._root / path).resolve(strict=True))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock, which the system gives back when a holder dies."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _parent_made(self, path: str) -> Path:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    @contextlib.contextmanager
    def _staging(self) -> Iterator[Path]:
        """Give an empty folder on the same file system, where no reader looks."""
        folder = self._root / ".staging" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    @contextlib.contextmanager
    def _written(self, content: bytes) -> Iterator[Path]:
        with self._staging() as staging:
            staged = staging / "file"
            with staged.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield staged


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
