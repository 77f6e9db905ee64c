"""Opens a log, whatever its form, as pieces of a table: one row an interaction.

The form is told by the content: the names of a table, MovieLens' ``::``, or one user a line. No
piece is kept, so that a log may be larger than the memory.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from model_builder import npz
from model_builder.errors import DataFault, Fault
from model_builder.recsys.columns import BARE, ROW, find_columns, find_extra, is_bare
from model_builder.recsys.user_lines import read_user_lines

_SEPARATORS = (",", ";", "\t")
_TABLES = (".csv", ".tsv", ".inter")
_PARQUET = (".parquet", ".pq")
_DOUBLE = "::"
_PIECE = 500_000


@dataclass(frozen=True)
class Source:
    """A log that is open."""

    file: str
    names: Mapping[str, str]
    """By role (``user``, ``item``, ``timestamp``, ``rating``, or an extra column's own name),
    the column's name in the file."""
    pieces: Callable[[], Iterator[pl.DataFrame]]
    """Give the rows in the file's order: a column for each role, texts stripped, null where
    there is nothing; and ``ROW``, the place in the file."""
    lines: Callable[[Sequence[int]], Sequence[int]] = lambda rows: rows
    """Give the lines on which these rows start."""
    timed: bool = True
    """Whether ``timestamp`` is a time, or only says what came before what."""


def open_log(path: Path, extra: Sequence[str] = ()) -> Source:
    """Open a log.

    Args:
        path: The file; of a folder, its ``ratings.csv`` or ``ratings.dat`` (as MovieLens has
            them) or only file.
        extra: Other columns that are wanted, by name.

    Raises:
        DataFault: If it is none of the known forms, or lacks a column; names every fault.
    """
    path = _file(path)
    if path.suffix.lower() in _PARQUET:
        return _parquet(path, extra)
    if path.suffix.lower() == npz.SUFFIX:
        return _typed(path.name, npz.read_npz(path).lazy(), extra)
    header = _first_line(path)
    table = path.suffix.lower() in _TABLES
    if _DOUBLE in header and (table or _is_header(header, header.split(_DOUBLE))):
        return _double(path, header, extra)
    cells = _cells(header, _separator(header))
    if table or (len(cells) > 1 and _is_header(header, cells)):
        return _table(path, header, extra)
    if extra:
        expected = f"columns {', '.join(extra)}"
        raise DataFault([Fault(path.name, expected, "users and items, one user a line")])
    names = {"user": "user", "item": "item"}
    return Source(path.name, names, lambda: read_user_lines(path, _PIECE), timed=False)


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in ("ratings.csv", "ratings.dat"):
        if (path / name).is_file():
            return path / name
    files = sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith("."))
    if len(files) != 1:
        expected = "a folder with ratings.csv, ratings.dat or only one file"
        raise DataFault([Fault(path.name, expected, f"{len(files)} files")])
    return files[0]


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return file.readline().rstrip("\r\n")


def _separator(line: str) -> str:
    return max(_SEPARATORS, key=line.count)


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _is_header(line: str, cells: Sequence[str]) -> bool:
    """Whether a table begins so, rather than a user and items, whose IDs may hold any mark.

    Without blanks a line is no user with items. So it is a table, if one without known names.
    """
    known, _ = find_columns("", cells)
    return bool(known) or is_bare(cells) or len(line.split()) == 1


def _pieces(cells: pl.LazyFrame, first_row: int) -> Iterator[pl.DataFrame]:
    """Number the rows, and leave out those without any cell: nobody meant an empty line."""
    row = first_row
    for piece in cells.collect_batches(chunk_size=_PIECE, engine="streaming"):
        rows = pl.int_range(row, row + piece.height, eager=True)
        row += piece.height
        empty = pl.all_horizontal(pl.exclude(ROW).is_null())
        yield piece.with_columns(rows.alias(ROW)).filter(~empty)


def _roles(file: str, header: Sequence[str], extra: Sequence[str]) -> dict[str, int]:
    places, faults = find_columns(file, header)
    others, missing = find_extra(file, header, extra)
    if faults or missing:
        raise DataFault([*faults, *missing])
    return {**others, **places}


def _table(path: Path, first_line: str, extra: Sequence[str]) -> Source:
    separator = _separator(first_line)
    header = _cells(first_line, separator)
    bare = is_bare(header)
    header = list(BARE) if bare else header
    places = _roles(path.name, header, extra)
    first = 1 if bare else 2

    def scan() -> pl.LazyFrame:
        return pl.scan_csv(
            path,
            separator=separator,
            has_header=not bare,
            infer_schema=False,
            new_columns=[str(place) for place in range(len(header))],
        )

    def pieces() -> Iterator[pl.DataFrame]:
        texts = [pl.col(str(place)).str.strip_chars().alias(role) for role, place in places.items()]
        try:
            # Of columns that are not asked for, the reader would not see that there are too many.
            for piece in _pieces(scan(), first):
                yield piece.select(*texts, ROW)
        except pl.exceptions.NoDataError:
            return
        except pl.exceptions.PolarsError as error:
            faults = list(_long_rows(path, separator, len(header)))
            unreadable = Fault(path.name, "a readable table", str(error).splitlines()[0])
            raise DataFault(faults or [unreadable]) from error

    names = {role: header[place].strip() for role, place in places.items()}
    return Source(path.name, names, pieces, lambda rows: _starts(scan(), rows, first))


def _starts(cells: pl.LazyFrame, rows: Sequence[int], first: int) -> list[int]:
    """Return on which line each row starts: a quoted cell may span lines."""
    breaks = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0))
    spans = cells.select(breaks.cast(pl.Int64).cum_sum().shift(1, fill_value=0).alias("before"))
    before = spans.head(max(rows) - first + 1).collect(engine="streaming")["before"]
    return [row + before[row - first] for row in rows]


def _long_rows(path: Path, separator: str, width: int) -> Iterator[Fault]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        for row in reader:
            if len(row) > width:
                yield Fault(path.name, f"{width} cells", f"{len(row)} cells", reader.line_num)


def _double(path: Path, first_line: str, extra: Sequence[str]) -> Source:
    """Read ``UserID::MovieID::Rating::Timestamp``, as MovieLens-1M and 10M have it.

    The reader knows separators of one character, so that there is an empty cell between two.
    """
    header = first_line.split(_DOUBLE)
    bare = is_bare(header)
    if bare:
        header = list(BARE)
    places = _roles(path.name, header, extra)
    width = 2 * len(header) - 1
    cells = pl.scan_csv(
        path,
        separator=":",
        quote_char=None,
        has_header=not bare,
        infer_schema=False,
        new_columns=[str(place) for place in range(width)],
    )
    between = range(1, width, 2)
    texts = [pl.col(str(2 * place)).str.strip_chars().alias(role) for role, place in places.items()]

    def pieces() -> Iterator[pl.DataFrame]:
        try:
            for piece in _pieces(cells, 1 if bare else 2):
                if sum(len(piece) - piece[str(place)].null_count() for place in between):
                    raise DataFault(list(_other_rows(path, len(header))))
                yield piece.select(*texts, ROW)
        except pl.exceptions.PolarsError as error:
            faults = list(_other_rows(path, len(header)))
            unreadable = Fault(path.name, "a readable table", str(error).splitlines()[0])
            raise DataFault(faults or [unreadable]) from error

    return Source(path.name, {role: header[place] for role, place in places.items()}, pieces)


def _other_rows(path: Path, width: int) -> Iterator[Fault]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            found = line.rstrip("\n").split(_DOUBLE)
            if len(found) != width or any(":" in cell for cell in found):
                expected = f"{width} cells with '{_DOUBLE}' between them"
                yield Fault(path.name, expected, f"'{line.rstrip()[:40]}'", number)


def _parquet(path: Path, extra: Sequence[str]) -> Source:
    try:
        cells = pl.scan_parquet(path)
        return _typed(path.name, cells, extra)
    except pl.exceptions.PolarsError as error:
        found = str(error).splitlines()[0]
        raise DataFault([Fault(path.name, "a Parquet file", found)]) from error


def _typed(file: str, cells: pl.LazyFrame, extra: Sequence[str]) -> Source:
    """Take a table that has types already."""
    schema = cells.collect_schema()
    header = schema.names()
    places, faults = find_columns(file, header)
    others, missing = find_extra(file, header, extra)
    names = {role: header[place] for role, place in {**others, **places}.items()}
    for role, name in names.items():
        faults += _kind_faults(file, role, name, schema[name])
    if faults or missing:
        raise DataFault([*faults, *missing])
    columns = [_known(role, pl.col(name), schema[name]) for role, name in names.items()]
    return Source(file, names, lambda: _pieces(cells.select(columns), 1))


def _kind_faults(file: str, role: str, name: str, kind: pl.DataType) -> Iterable[Fault]:
    texts = kind in (pl.String, pl.Categorical, pl.Enum)
    if role in ("user", "item"):
        known, expected = texts or kind.is_integer(), "texts or integers"
    elif role in ("timestamp", "rating"):
        moments = role == "timestamp" and kind.is_temporal()
        known, expected = texts or kind.is_numeric() or moments, "numbers"
    else:
        known, expected = texts or kind.is_numeric() or kind == pl.Boolean, "numbers or texts"
    if not known:
        yield Fault(file, expected, str(kind), column=name)


def _known(role: str, column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return texts for IDs, and numbers or texts for the rest; a time counts microseconds."""
    if kind.is_temporal():
        column = column.cast(pl.Datetime("us"))
    elif role in ("user", "item") or not kind.is_numeric():
        column = column.cast(pl.String).str.strip_chars()
    return column.alias(role)
