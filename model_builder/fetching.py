"""Files of public data sets: fetched, checked, put in place whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tenacity

from model_builder.errors import DataSetUnavailable
from model_builder.progress import Progress
from model_builder.public_data import DataFile, PublicData, TextFormat

_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = 20.0
_ATTEMPTS = 3
_NUMBER = re.compile(r"-?\d+(\.\d*)?")


def fetch(data: PublicData, folder: Path, progress: Progress, retry_wait_s: float = 0.5) -> None:
    """Fetch ``data`` from its original address into ``folder``, which appears only when whole.

    An address that does not answer is asked three times, after ``retry_wait_s`` and twice that.

    Raises:
        DataSetUnavailable: If the address does not answer, or answers something else.
    """
    with whole_folder(folder) as staging, tempfile.TemporaryDirectory() as scratch:
        download = Path(scratch) / "download"
        try:
            for attempt in _attempts(retry_wait_s):
                with attempt:
                    _download(data.url, download, data.name, progress)
            for file in data.files:
                _extract(download, file, staging / file.name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise DataSetUnavailable(data.name, f"{data.url}: {error}") from error
        for file in data.files:
            check(data, file, staging / file.name)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside ``folder`` that takes its place if the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield staging
        staging.chmod(0o755)
        try:
            os.rename(staging, folder)
        except OSError:
            if not folder.is_dir():  # another process was first: its folder is as good
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check(data: PublicData, file: DataFile, path: Path) -> None:
    """Check that ``path`` holds what ``file`` is known to hold.

    Raises:
        DataSetUnavailable: If it does not; the cause names both hashes.
    """
    if file.canonical_sha256:
        found, known = canonical_sha256(path, data.format), {file.canonical_sha256}
    elif file.sha256 or file.md5:
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        known = set(file.sha256)
        if hashlib.md5(content, usedforsecurity=False).hexdigest() == file.md5:
            return
    else:
        return
    if found not in known:
        raise DataSetUnavailable(
            data.name, f"{path} has sha256 {found}, expected {' or '.join(sorted(known))}"
        )


def canonical_sha256(path: Path, text: TextFormat) -> str:
    """Return the hash of a table's content: sorted rows, numbers written one way, no header."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file, delimiter=text.separator)
        if not text.columns:
            next(rows, None)
        lines = sorted("\x1f".join(_canonical(cell) for cell in row if row) for row in rows)
    lines = [line for line in lines if line]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, or of the names and hashes of a folder's files."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        listing = [f"{file.relative_to(path).as_posix()} {file_sha256(file)}" for file in inside]
        return hashlib.sha256("\n".join(listing).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _canonical(cell: str) -> str:
    cell = cell.strip()
    if not _NUMBER.fullmatch(cell):
        return cell
    number = float(cell)
    return str(int(number)) if number.is_integer() else repr(number)


def _attempts(retry_wait_s: float) -> tenacity.Retrying:
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_answers_maybe_later),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=retry_wait_s),
        reraise=True,
    )


def _answers_maybe_later(error: BaseException) -> bool:
    """Whether to try again: not if the server said that there is no such thing."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code == 429
    return isinstance(error, OSError)


def _download(url: str, path: Path, name: str, progress: Progress) -> None:
    with _opened(url) as answer, path.open("wb") as file:
        length = answer.headers.get("Content-Length")
        with progress.stage(f"fetch {name}", int(length) if length else None) as bar:
            while chunk := answer.read(_CHUNK_BYTES):
                file.write(chunk)
                bar.advance(len(chunk))
        file.flush()
        # http.client takes a connection that ends early for the end of the content.
        if length and path.stat().st_size != int(length):
            raise ConnectionError(f"{path.stat().st_size} of {length} bytes came")


def _opened(url: str) -> Any:
    try:
        return urllib.request.urlopen(url, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()  # it is an answer, too, and holds the connection
        raise


def _extract(download: Path, file: DataFile, path: Path) -> None:
    if file.member:
        with zipfile.ZipFile(download) as archive:
            content = archive.read(file.member)
    else:
        content = download.read_bytes()
    if file.renamed_columns:
        content = _renamed(content, file.renamed_columns)
    path.write_bytes(content)


def _renamed(content: bytes, columns: tuple[str, ...]) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([columns, *rows[1:]])
    return text.getvalue().encode()
