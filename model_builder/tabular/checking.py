"""Turns texts into a checked table; every cell that cannot be used is a fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from model_builder.errors import DataFault, Fault
from model_builder.tabular.columns import Column, Target, canonical
from model_builder.tabular.kinds import written_numbers
from model_builder.tabular.reading import RawTable
from model_builder.tabular.split_keys import SplitBy, split_keys
from model_builder.tabular.table import Table

MAX_CATEGORIES = 200
"""A column with more different texts holds names or sentences, not categories."""

_SHOWN_FAULTS = 1000
_BY_CLASS = SplitBy()


def check_table(
    raw: RawTable, columns: Sequence[Column], target: Target, split_by: SplitBy = _BY_CLASS
) -> Table:
    """Return the typed table of ``columns`` and ``target``, with what it is split by.

    Raises:
        DataFault: If a column is missing, or a cell is not what its column must hold; all
            faults, ordered by row.
    """
    wanted = [*(column.file_name for column in columns), target.name]
    absent = [name for name in wanted if name not in raw.frame.columns]
    faults = [Fault(raw.file, f"a column '{name}'", "none") for name in absent]
    if not columns:
        faults.append(Fault(raw.file, "at least one column beside the label", "none"))
    if faults:
        raise DataFault(faults)

    values: dict[str, npt.NDArray[np.generic]] = {}
    for column in columns:
        cells = with_gaps(raw.frame[column.file_name], column.missing_values)
        if column.kind == "category":
            values[column.name], found = _words(raw, column, cells)
        else:
            values[column.name], found = _numbers(raw, column, cells)
        faults += found
    classes, found = _classes(raw, target)
    faults += found
    keys, found = split_keys(raw, split_by)
    faults += found
    if faults:
        raise DataFault(sorted(faults, key=lambda fault: fault.row or 0))
    return Table(tuple(columns), values, classes, target.labels, keys, target.name)


def with_gaps(cells: pl.Series, missing_values: Sequence[str]) -> pl.Series:
    """Return cells with null in place of the texts that hold no value."""
    if not missing_values:
        return cells
    return cells.set(cells.is_in(list(missing_values)).fill_null(False), None)


def _numbers(
    raw: RawTable, column: Column, cells: pl.Series
) -> tuple[npt.NDArray[np.float64], list[Fault]]:
    numbers = written_numbers(cells).cast(pl.Float64, strict=False)
    texts = (cells.is_not_null() & numbers.is_null()).arg_true()
    faults = list(_faults(raw, column.file_name, cells, texts, "a number"))
    # The tensor is float32: what overflows there is as good as infinite.
    largest = float(np.finfo(np.float32).max)
    infinite = ((numbers.abs() > largest) | numbers.is_nan()).arg_true()
    faults += _faults(raw, column.file_name, cells, infinite, "a finite number")
    if column.kind == "code" and column.meanings and not faults:
        known = [float(code) for code in column.meanings]
        unknown = (numbers.is_not_null() & ~numbers.is_in(known)).arg_true()
        expected = f"one of {', '.join(column.meanings)}"
        faults += _faults(raw, column.file_name, cells, unknown, expected)
    return numbers.fill_null(float("nan")).to_numpy().astype(np.float64), faults


def _words(
    raw: RawTable, column: Column, cells: pl.Series
) -> tuple[npt.NDArray[np.object_], list[Fault]]:
    faults: list[Fault] = []
    if column.meanings:
        cells = cells.map_elements(canonical, return_dtype=pl.String)
        unknown = (cells.is_not_null() & ~cells.is_in(list(column.meanings))).arg_true()
        expected = f"one of {', '.join(column.meanings)}"
        faults += _faults(raw, column.file_name, cells, unknown, expected)
        cells = cells.replace_strict(column.meanings, default=None, return_dtype=pl.String)
    else:
        different = cells.drop_nulls().n_unique()
        if different > MAX_CATEGORIES:
            expected = f"numbers, or at most {MAX_CATEGORIES} categories"
            found = f"{different} different texts"
            faults.append(Fault(raw.file, expected, found, column=column.file_name))
    return cells.fill_null("").to_numpy().astype(np.object_), faults


def _classes(raw: RawTable, target: Target) -> tuple[npt.NDArray[np.int64], list[Fault]]:
    cells = raw.frame[target.name]
    texts = cells.map_elements(canonical, return_dtype=pl.String)
    unknown = (~texts.is_in(list(target.classes)).fill_null(False)).arg_true()
    expected = f"one of {', '.join(target.classes)}"
    faults = list(_faults(raw, target.name, cells, unknown, expected))
    if faults:
        return np.empty(0, np.int64), faults
    classes = texts.replace_strict(target.classes, return_dtype=pl.Int64).to_numpy()
    counts = np.bincount(classes, minlength=len(target.labels))
    for label, count in zip(target.labels, counts, strict=True):
        if count < MIN_ROWS_OF_CLASS:
            found = f"{count}"
            expected = f"at least {MIN_ROWS_OF_CLASS} rows of class '{label}'"
            faults.append(Fault(raw.file, expected, found, column=target.name))
    return classes.astype(np.int64), faults


MIN_ROWS_OF_CLASS = 10
"""Enough for two in each part of a split, so that every measure is defined."""


def _faults(
    raw: RawTable, name: str, cells: pl.Series, rows: pl.Series, expected: str
) -> Iterable[Fault]:
    for i in rows.head(_SHOWN_FAULTS).to_list():
        cell = cells[i]
        found = "no value" if cell is None else f"'{cell[:60]}'"
        yield Fault(raw.file, expected, found, raw.row(i), name)
