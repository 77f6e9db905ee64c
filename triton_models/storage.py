"""The few things a release store does with files, on a folder and on whatever fsspec knows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem

from triton_models.hashing import file_hashes
from triton_models.remote_storage import RemoteStorage


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
