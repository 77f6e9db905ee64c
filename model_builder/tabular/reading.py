"""Reads a file into texts: which cells there are, on which line, and nothing about meaning."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from model_builder.errors import DataFault, Fault
from model_builder.tabular.columns import MISSING_TEXTS

_CHUNK_ROWS = 50_000
_SEPARATORS = (",", ";", "\t")
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class RawTable:
    """The cells of a file as texts, stripped; null where there is no value."""

    file: str
    frame: pl.DataFrame
    """Every column a string."""
    lines: npt.NDArray[np.int64]
    """``(rows,)``, the 1-based line where each row ends; the row, where there are no lines."""

    def row(self, index: int) -> int:
        """Return where a person finds row ``index`` in the file."""
        return int(self.lines[index])


def read_parquet(path: Path, dated: str | None = None) -> RawTable:
    """Read a Parquet file.

    Args:
        path: The file.
        dated: A column that may hold dates or times; they become texts as ISO 8601 writes them.

    Raises:
        DataFault: If it is none, or :func:`read_frame` refuses it.
    """
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataFault([Fault(path.name, "a Parquet file", str(error).splitlines()[0])]) from error
    if dated in frame.columns and frame.schema[dated].is_temporal():
        frame = frame.with_columns(pl.col(dated).cast(pl.Datetime("us")).cast(pl.String))
    return read_frame(path.name, frame)


def read_frame(file: str, frame: pl.DataFrame) -> RawTable:
    """Take a table that has types already.

    Raises:
        DataFault: If it has no rows, or a column holds neither numbers nor texts.
    """
    plain = (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)
    faults = [
        Fault(file, "numbers or texts", str(kind), column=name)
        for name, kind in frame.schema.items()
        if not (kind.is_numeric() or kind in plain)
    ]
    if faults:
        raise DataFault(faults)
    texts = frame.with_columns(pl.all().cast(pl.String))
    return _raw_table(file, texts, np.arange(1, frame.height + 1))


def read_text(
    path: Path, *, separator: str | None = None, names: Sequence[str] = (), skipped_lines: int = 0
) -> RawTable:
    """Read a text file with one row a line.

    Args:
        path: The file, in UTF-8.
        separator: What stands between cells (" " is any number of spaces); if ``None``, the
            one of comma, semicolon and tab that is most frequent in the first line.
        names: The columns, if the file has no header.
        skipped_lines: Lines before the header or the first row.

    Raises:
        DataFault: If it is not text, a row has more or fewer cells than there are columns,
            columns have the same name or none, or there are no rows.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for _ in range(skipped_lines):
                file.readline()
            return _read_lines(path.name, file, separator, names, skipped_lines)
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x}"
        raise DataFault([Fault(path.name, "text in UTF-8", found)]) from error
    except OSError as error:
        raise DataFault([Fault(path.name, "a readable file", error.strerror or "none")]) from error


def _read_lines(
    file_name: str,
    lines: Iterator[str],
    separator: str | None,
    names: Sequence[str],
    skipped_lines: int,
) -> RawTable:
    first = next(lines, "").removeprefix(_BYTE_ORDER_MARK)
    separator = separator or max(_SEPARATORS, key=first.count)
    cells = _cells(_chain(first, lines), separator, skipped_lines)
    faults: list[Fault] = []
    parts: list[pl.DataFrame] = []
    numbers: list[int] = []
    rows: list[list[str]] = []
    try:
        if not names:
            line, header = next(cells, (1, []))
            names = [name.strip() for name in header]
            faults += _name_faults(file_name, names, line)
        for line, row in cells:
            if len(row) != len(names):
                found = f"{len(row)} cell" + ("" if len(row) == 1 else "s")
                faults.append(Fault(file_name, f"{len(names)} cells", found, row=line))
            elif not faults:
                rows.append(row)
                numbers.append(line)
            if len(rows) == _CHUNK_ROWS:
                parts.append(_strings(names, rows))
                rows = []
    except csv.Error as error:
        faults.append(Fault(file_name, "a readable table", str(error)))
    if faults:
        raise DataFault(faults)
    parts.append(_strings(names, rows))
    return _raw_table(file_name, pl.concat(parts), np.array(numbers, np.int64))


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _cells(
    lines: Iterator[str], separator: str, skipped_lines: int
) -> Iterator[tuple[int, list[str]]]:
    """Give each row with the line it ends on; empty lines are no rows."""
    if separator == " ":
        lines = (f"{line.strip()}\n" for line in lines)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    for row in reader:
        if any(cell.strip() for cell in row):
            yield reader.line_num + skipped_lines, row


def _name_faults(file_name: str, names: Sequence[str], line: int) -> list[Fault]:
    faults = [
        Fault(file_name, "column names that differ", f"{count} of this name", line, name)
        for name, count in Counter(names).items()
        if count > 1 and name
    ]
    # pandas writes an index without a name in front; any other unnamed column cannot be asked.
    faults += [
        Fault(file_name, "a name for each column", f"none for column {i + 1}", line)
        for i, name in enumerate(names)
        if not name and i > 0
    ]
    return faults


def _strings(names: Sequence[str], rows: list[list[str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _raw_table(file_name: str, texts: pl.DataFrame, lines: npt.NDArray[np.int64]) -> RawTable:
    if not texts.width or not texts.height:
        raise DataFault([Fault(file_name, "at least one row of data", "none")])
    stripped = pl.all().str.strip_chars()
    frame = texts.with_columns(stripped)
    frame = frame.with_columns(
        pl.when(pl.all().is_in(sorted(MISSING_TEXTS))).then(None).otherwise(pl.all()).name.keep()
    )
    return RawTable(file_name, frame, lines)
