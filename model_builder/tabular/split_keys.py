"""What a grouped or a time split goes by: one number for each row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from model_builder.errors import Fault
from model_builder.tabular.drawing import How
from model_builder.tabular.reading import RawTable

_SHOWN_FAULTS = 1000


class SplitBy(NamedTuple):
    """How a table is split, and by which column of its file."""

    how: How = "stratified"
    column: str | None = None


def split_keys(
    raw: RawTable, split_by: SplitBy
) -> tuple[npt.NDArray[np.float64] | None, list[Fault]]:
    """Return ``(rows,)`` float64, and what is wrong; ``None`` for a split by class.

    A group is any text. A time is a number, such as a year or seconds, or a date or a time as
    ISO 8601 writes it; all cells of the column the same kind.
    """
    if split_by.column is None:
        return None, []
    if split_by.column not in raw.frame.columns:
        listed = ", ".join(raw.frame.columns[:30])
        return None, [Fault(raw.file, f"a column '{split_by.column}' to split by", listed)]
    cells = raw.frame[split_by.column]
    if split_by.how == "grouped":
        keys, expected = cells.rank("dense").cast(pl.Float64), "a group"
    else:
        keys, expected = _times(cells), "a number, or a date or time as in 2026-11-25T08:30:00"
    faults = [
        Fault(raw.file, expected, _shown(cells[i]), raw.row(i), split_by.column)
        for i in keys.is_null().arg_true().head(_SHOWN_FAULTS).to_list()
    ]
    return None if faults else keys.to_numpy().astype(np.float64), faults


def _times(cells: pl.Series) -> pl.Series:
    numbers = cells.cast(pl.Float64, strict=False)
    numbers = pl.select(pl.when(numbers.is_finite()).then(numbers)).to_series()
    texts = cells.str.replace(" ", "T", literal=True)
    date = texts.str.strptime(pl.Date, "%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    whole = texts.str.strptime(pl.Datetime("us", "UTC"), "%+", strict=False)
    plain = texts.str.strptime(pl.Datetime("us"), "%Y-%m-%dT%H:%M:%S%.f", strict=False)
    minutes = texts.str.strptime(pl.Datetime("us"), "%Y-%m-%dT%H:%M", strict=False)
    stamps = [each.dt.epoch("us").cast(pl.Float64) for each in (date, whole, plain, minutes)]
    dates = pl.select(pl.coalesce(*stamps)).to_series()
    return dates if dates.null_count() < numbers.null_count() else numbers


def _shown(cell: str | None) -> str:
    return "no value" if cell is None else f"'{cell[:60]}'"
