"""Guesses what the columns of an unknown table are."""

from __future__ import annotations

import polars as pl

from model_builder.progress import Progress
from model_builder.tabular.columns import Column, Kind
from model_builder.tabular.reading import RawTable

_INDEX_NAMES = frozenset({"", "id", "index", "row", "row_id", "unnamed: 0"})
_NUMBER_SHARE = 0.8
"""Of the cells with a value: with more numbers than this, a text among them is a mistake."""


def guess_columns(raw: RawTable, target: str, progress: Progress) -> tuple[Column, ...]:
    """Return a column for everything in the file that can inform, in the file's order.

    Left out, and said so: row numbers, and columns with less than two different values.
    """
    columns = []
    for name in raw.frame.columns:
        if name == target:
            continue
        cells = raw.frame[name].drop_nulls()
        different = cells.n_unique()
        if name.lower() in _INDEX_NAMES and different == raw.frame.height:
            progress.say(f"{raw.file}: column '{name}' numbers the rows; left out.")
        elif different < 2:
            progress.say(f"{raw.file}: column '{name}' holds {different} value; left out.")
        else:
            columns.append(Column(name, _kind(cells), description=_words(name)))
    return tuple(columns)


def _kind(cells: pl.Series) -> Kind:
    numbers = cells.cast(pl.Float64, strict=False).drop_nulls()
    if len(numbers) < _NUMBER_SHARE * len(cells):
        return "category"
    return "code" if set(numbers.unique()) == {0.0, 1.0} else "quantity"


def _words(name: str) -> str:
    # Braces would be taken for places to fill in when a reason is put into words.
    words = name.replace("_", " ").replace("{", "(").replace("}", ")").strip()
    return words[:1].upper() + words[1:]
