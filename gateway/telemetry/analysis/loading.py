"""Reads a million spans in seconds: files of OTLP/JSON lines, answers of Jaeger and of Tempo.

A large file is cut into pieces at its line ends; other processes read them, each into columns.
What cannot be read is counted and named, and costs nothing but itself.
"""

from __future__ import annotations

import gzip
import multiprocessing
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

import msgspec
import polars as pl

from gateway.telemetry.analysis.decoding import (
    Decoded,
    decode_document,
    decode_lines,
    is_line,
)
from gateway.telemetry.analysis.span_columns import LINK_SCHEMA, SCHEMA
from gateway.telemetry.analysis.writing import some_of
from gateway.telemetry.line_file import previous_file

PIECE_BYTES = 8 * 1024 * 1024
_PARALLEL_FROM_BYTES = 24 * 1024 * 1024
"""Below this, starting other processes costs more than they save."""
_MOST_NAMED = 20
_KEYS = {"resourceSpans", "batches", "trace", "data"}
"""What a document of traces has one of, be it empty."""
_LINES_TRIED = 5
"""If none of so many lines is OTLP/JSON of its own, a file may be one document."""


class NoTraces(Exception):
    """There is nothing to read where traces were expected."""


@dataclass
class Damage:
    """What could not be read."""

    lines: int = 0
    """Lines of which nothing was read."""
    spans: int = 0
    """Spans of lines that were read otherwise."""
    named: list[str] = field(default_factory=list)
    """The first of them: ``FILE:LINE: what is wrong``."""

    def name(self, place: str, reason: str) -> None:
        """Keep where it is, if there is room."""
        if len(self.named) < _MOST_NAMED:
            self.named.append(f"{place}: {reason}")


@dataclass(frozen=True)
class SpanTable:
    """All spans that were read.

    Attributes:
        spans: One row a span, columns as in ``span_columns.SCHEMA``; a span that was written
            twice stands once.
        links: One row a link, columns as in ``span_columns.LINK_SCHEMA``.
        damage: What could not be read.
        files: What was read.
    """

    spans: pl.DataFrame
    links: pl.DataFrame
    damage: Damage
    files: Sequence[Path]


@dataclass(frozen=True)
class _Piece:
    """Some lines of a file: where they lie, or what they are."""

    path: Path
    offset: int
    size: int
    content: bytes | None = None


def load(paths: Iterable[Path], *, processes: int | None = None) -> SpanTable:
    """Read traces.

    Args:
        paths: Files, also packed with gzip, or folders of them. To a file belongs the one that
            the gateway put away beside it.
        processes: How many read at a time; by default one a core, and one for little.

    Raises:
        NoTraces: If a file is not there.
    """
    files = _files(paths)
    damage = Damage()
    parts: list[Decoded] = []
    whole = sum(file.stat().st_size for file in files)
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if whole >= _PARALLEL_FROM_BYTES else 1
    with ExitStack() as stack:
        pool = stack.enter_context(_pool(processes)) if processes > 1 else None
        for file in files:
            for read, first_line in _read_file(file, pool, processes):
                parts.append(read)
                damage.lines += len(read.bad_lines)
                damage.spans += len(read.bad_spans)
                for line, reason in sorted(read.bad_lines + read.bad_spans):
                    damage.name(f"{file}:{first_line + line}", reason)
    spans = pl.concat([part.spans for part in parts] or [pl.DataFrame(schema=SCHEMA)])
    links = pl.concat([part.links for part in parts] or [pl.DataFrame(schema=LINK_SCHEMA)])
    once = spans.unique(["trace", "span"], keep="last", maintain_order=True)
    return SpanTable(once, links.unique(maintain_order=True), damage, files)


def _files(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if ".json" in one.name)
            if not inside:
                raise NoTraces(f"there is no file of traces in {path}")
            found |= dict.fromkeys(inside)
            continue
        if previous_file(path).is_file():
            found[previous_file(path)] = None
        elif not path.is_file():
            raise NoTraces(f"there is no file {path}")
        if path.is_file():
            found[path] = None
    return list(found)


def _pool(processes: int) -> ProcessPoolExecutor:
    # Not forked: polars has threads, and a fork of threads can stand still for ever.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=context)


def _read_file(
    path: Path, pool: ProcessPoolExecutor | None, processes: int
) -> Iterator[tuple[Decoded, int]]:
    """Give what a file holds, and how many lines lie before it."""
    document = _document(path)
    if document is not None:
        yield document, 0
        return
    line = 0
    for read in _in_order(_pieces(path), pool, ahead=2 * processes):
        yield read, line
        line += read.lines


def _in_order(
    pieces: Iterable[_Piece], pool: ProcessPoolExecutor | None, ahead: int
) -> Iterator[Decoded]:
    """Read pieces, some ahead of others, and give them in their order."""
    if pool is None:
        yield from map(_read_piece, pieces)
        return
    running: list[Any] = []
    for piece in pieces:
        running.append(pool.submit(_read_piece, piece))
        if len(running) >= ahead:
            yield running.pop(0).result()
    for one in running:
        yield one.result()


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path) if packed else path.open("rb"))


def _pieces(path: Path) -> Iterator[_Piece]:
    """Cut a file at line ends."""
    with _open(path) as file:
        if isinstance(file, gzip.GzipFile):
            yield from _unpacked(path, file)
            return
        offset = 0
        while block := file.read(PIECE_BYTES):
            size = len(block) + len(file.readline())
            yield _Piece(path, offset, size)
            offset += size


def _unpacked(path: Path, file: gzip.GzipFile) -> Iterator[_Piece]:
    """Cut a packed file; of one that ends too early, all that is there."""
    lines: list[bytes] = []
    size = 0
    try:
        for line in file:
            lines.append(line)
            size += len(line)
            if size >= PIECE_BYTES:
                yield _Piece(path, 0, size, b"".join(lines))
                lines, size = [], 0
    except (EOFError, OSError, zlib.error):
        lines.append(b"(the packed file ends here, too early)\n")
    yield _Piece(path, 0, size, b"".join(lines))


def _document(path: Path) -> Decoded | None:
    """Read a file that is one JSON document, not lines: an answer of Jaeger or Tempo."""
    with _open(path) as file:
        try:
            first = [file.readline() for _ in range(_LINES_TRIED)]
            if any(map(is_line, first)):
                return None
            content = b"".join(first) + file.read()
        except (EOFError, OSError, zlib.error):
            return None
    document = decode_document(content)
    return None if document is None else _with_traces(document, content)


def _with_traces(document: Decoded, content: bytes) -> Decoded:
    """Return a document; of JSON that is something else, that it cannot be read."""
    if len(document.spans) or document.bad_lines or document.bad_spans:
        return document
    keys = list(msgspec.json.decode(content, type=dict[str, msgspec.Raw]))
    if not keys or _KEYS & set(keys):  # an answer with nothing in it; Tempo's is {}
        return document
    reason = f"neither OTLP/JSON nor an answer of Jaeger or Tempo: an object with {some_of(keys)}"
    return replace(document, bad_lines=[(1, reason)])


def _read_piece(piece: _Piece) -> Decoded:
    """Read lines; runs in another process."""
    if piece.content is not None:
        return decode_lines(piece.content)
    with piece.path.open("rb") as file:
        file.seek(piece.offset)
        return decode_lines(file.read(piece.size))
