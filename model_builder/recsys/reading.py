"""Reads a log of interactions: csv, parquet or npz with names, or one user a line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from model_builder import npz
from model_builder.errors import DataFault, Fault
from model_builder.recsys.columns import find_columns, find_faults

_SEPARATORS = (",", ";", "\t")
_TABLES = (".csv", ".tsv")
_PARQUET = (".parquet", ".pq")
_NEEDED = ("user", "item", "timestamp")


def read_log(path: Path) -> pl.DataFrame:
    """Return the interactions in the order of the file.

    Args:
        path: The file; of a folder, its ``ratings.csv`` (as MovieLens has it) or only file.

    Returns:
        ``user`` and ``item``: strings. ``timestamp``: integers or floats, the place in the line
        if the file has one user a line. ``rating``: floats, if the file has them.

    Raises:
        DataFault: If the file is none of the known kinds, or a cell is not what it must be;
            names every fault.
    """
    path = _file(path)
    try:
        if path.suffix.lower() in _PARQUET:
            return _parquet(path)
        if path.suffix.lower() == npz.SUFFIX:
            return _typed(path.name, npz.read_npz(path))
        header = _first_line(path)
        if path.suffix.lower() in _TABLES or any(mark in header for mark in _SEPARATORS):
            return _table(path, header)
        return _lines_of_users(path)
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x}"
        raise DataFault([Fault(path.name, "text in UTF-8", found)]) from error
    except OSError as error:
        raise DataFault([Fault(path.name, "a readable file", error.strerror or "none")]) from error


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if (path / "ratings.csv").is_file():
        return path / "ratings.csv"
    files = sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith("."))
    if len(files) != 1:
        expected = "a folder with ratings.csv or only one file"
        raise DataFault([Fault(path.name, expected, f"{len(files)} files")])
    return files[0]


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return file.readline().rstrip("\r\n")


def _table(path: Path, first_line: str) -> pl.DataFrame:
    separator = max(_SEPARATORS, key=first_line.count)
    header = next(csv.reader([first_line], delimiter=separator), [])
    places, faults = find_columns(path.name, header)
    if faults:
        raise DataFault(faults)
    try:
        cells = pl.read_csv(
            path,
            separator=separator,
            infer_schema=False,
            new_columns=[str(place) for place in range(len(header))],
        )
    except pl.exceptions.PolarsError as error:
        faults = list(_long_rows(path, separator, len(header)))
        unreadable = Fault(path.name, "a readable table", str(error).splitlines()[0])
        raise DataFault(faults or [unreadable]) from error
    frame = cells.select(
        *(pl.col(str(place)).str.strip_chars().alias(role) for role, place in places.items()),
        row=_line_numbers(cells),
    )
    # An empty line comes as a row without any cell; nobody meant it as an interaction.
    frame = frame.filter(~pl.all_horizontal(pl.all().exclude("row").is_null()))
    return _checked(frame, path.name, {role: header[place] for role, place in places.items()})


def _line_numbers(cells: pl.DataFrame) -> pl.Series:
    """Return the 1-based line on which each row starts; a quoted cell may span lines."""
    breaks = cells.select(
        pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0))
    ).to_series()
    return pl.int_range(2, cells.height + 2, eager=True) + breaks.cum_sum() - breaks


def _long_rows(path: Path, separator: str, width: int) -> Iterator[Fault]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        for row in reader:
            if len(row) > width:
                yield Fault(path.name, f"{width} cells", f"{len(row)} cells", reader.line_num)


def _parquet(path: Path) -> pl.DataFrame:
    try:
        cells = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        found = str(error).splitlines()[0]
        raise DataFault([Fault(path.name, "a Parquet file", found)]) from error
    return _typed(path.name, cells)


def _typed(file: str, cells: pl.DataFrame) -> pl.DataFrame:
    """Take a table that has types already."""
    places, faults = find_columns(file, cells.columns)
    names = {role: cells.columns[place] for role, place in places.items()}
    for role, name in names.items():
        kind = cells.schema[name]
        texts = kind in (pl.String, pl.Categorical, pl.Enum)
        if role in ("user", "item"):
            if not (texts or kind.is_integer()):
                faults.append(Fault(file, "texts or integers", str(kind), column=name))
        elif not (texts or kind.is_numeric() or (role == "timestamp" and kind.is_temporal())):
            faults.append(Fault(file, "numbers", str(kind), column=name))
    if faults:
        raise DataFault(faults)
    columns = [_as_text(name, cells.schema[name]).alias(role) for role, name in names.items()]
    row = pl.int_range(1, cells.height + 1, eager=True)
    return _checked(cells.select(*columns, row=row), file, names)


def _as_text(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind.is_temporal():
        column = column.cast(pl.Int64)  # days or microseconds: only the order counts
    return column.cast(pl.String).str.strip_chars()


def _checked(frame: pl.DataFrame, file: str, names: dict[str, str]) -> pl.DataFrame:
    if not frame.height:
        raise DataFault([Fault(file, "at least one interaction", "none")])
    faults = find_faults(frame, file, names)
    if faults:
        raise DataFault(faults)
    whole = frame["timestamp"].cast(pl.Int64, strict=False)
    time = whole if whole.null_count() == 0 else frame["timestamp"].cast(pl.Float64)
    frame = frame.with_columns(time.alias("timestamp")).drop("row")
    return frame.cast({"rating": pl.Float64}) if "rating" in names else frame


def _lines_of_users(path: Path) -> pl.DataFrame:
    """Read ``user item item …``, oldest first."""
    faults: list[Fault] = []
    users: dict[str, tuple[int, list[str]]] = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            user, *items = line.split() or [""]
            if not user:
                continue
            if not items:
                faults.append(Fault(path.name, f"items after user '{user}'", "none", number))
            if user in users:
                faults.append(Fault(path.name, "one line a user", f"'{user}' again", number))
            users.setdefault(user, (number, items))
    if faults:
        raise DataFault(faults)
    rows = [(user, items, number) for user, (number, items) in users.items()]
    schema = {"user": pl.String, "item": pl.List(pl.String), "row": pl.Int64}
    frame = pl.DataFrame(rows, schema, orient="row")
    frame = frame.with_columns(timestamp=pl.int_ranges(pl.col("item").list.len()))
    frame = frame.explode("item", "timestamp").cast({"timestamp": pl.String})
    return _checked(frame, path.name, {role: role for role in _NEEDED})
