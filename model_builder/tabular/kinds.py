"""Guesses what the columns of an unknown table are."""

from __future__ import annotations

import re
from typing import Protocol

import numpy as np
import polars as pl

from model_builder.tabular.columns import Column, Kind
from model_builder.tabular.reading import RawTable

_INDEX_NAMES = frozenset({"", "id", "index", "row", "row_id", "unnamed: 0"})
_NUMBER_SHARE = 0.8
"""Of the cells with a value: with more numbers than this, a text among them is a mistake."""


_ID_NAME = re.compile(r"(^|[_ .-])(id|uuid|guid)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z](ID|Id)$")
_ID_SHARE = 0.5
"""Of the rows: with more different values than this, what is called an ID is one."""
_PROTECTED = frozenset(
    {"sex", "gender", "race", "ethnicity", "ethnic", "religion", "nationality", "citizenship"}
    | {"foreign", "age", "marital", "married", "marriage", "pregnant", "pregnancy", "disability"}
)
"""A word of a name that makes a column one whose use a person must look at."""
_NEGATIVE_CODES = frozenset({*range(-9, 0), *(-n for n in (77, 88, 96, 97, 98, 99)), -999, -9999})
_LARGE_CODES = frozenset({96, 97, 98, 99, 996, 997, 998, 999, 9996, 9997, 9998, 9999, 99999})
_FEW_CODES = 4
_LEAST_CODED = 5
"""Rows of a special code: fewer are an outlier."""
_GAP = 2.0
"""A large code is at least so many times the largest value that is none."""
_WRITTEN_NUMBER = r"^[$€£]?\s*[-+]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?\s*%?$"


class Says(Protocol):
    """Takes a line for people."""

    def say(self, text: str) -> None:
        """Take it."""
        ...


def written_numbers(cells: pl.Series) -> pl.Series:
    """Return cells without the signs of money, of thousands and of percent around a number."""
    written = cells.str.contains(_WRITTEN_NUMBER).fill_null(False)
    plain = cells.str.replace_all(r"[$€£,%\s]", "")
    return plain.zip_with(written, cells)


def guess_columns(raw: RawTable, target: str, progress: Says) -> tuple[Column, ...]:
    """Return a column for everything in the file that can inform, in the file's order.

    Said: what is left out (row numbers, IDs, columns with less than two different values), and
    numbers that are written as texts.
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
        elif _is_id(name, cells, raw.frame.height):
            repeated = raw.frame.height - different
            more = f", {repeated} rows repeat another's or have none" if repeated else ""
            progress.say(f"{raw.file}: column '{name}' holds IDs{more}; left out.")
        else:
            columns.append(_column(raw, name, cells, progress))
    return tuple(columns)


def _is_id(name: str, cells: pl.Series, rows: int) -> bool:
    named = name.lower() in _INDEX_NAMES or _ID_NAME.search(name) or _CAMEL_ID.search(name)
    return bool(named) and cells.n_unique() > _ID_SHARE * rows


def _column(raw: RawTable, name: str, cells: pl.Series, progress: Says) -> Column:
    plain = written_numbers(cells)
    changed = int((plain != cells).sum())
    kind = _kind(plain)
    if changed and kind != "category":
        example = cells.filter(plain != cells)[0]
        progress.say(
            f"{raw.file}: column '{name}' has {changed} numbers written as texts, such as "
            f"'{example}'; read as numbers."
        )
    codes = special_codes(plain.cast(pl.Float64, strict=False)) if kind == "quantity" else ()
    if codes:
        listed = ", ".join(f"{code:g}" for code in codes)
        progress.say(f"{raw.file}: column '{name}' seems to have special codes: {listed}.")
    words = set(re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()))
    return Column(
        name,
        kind,
        description=_words(name),
        special_codes={code: f"special value {code:g}" for code in codes},
        protected=bool(words & _PROTECTED),
    )


def special_codes(numbers: pl.Series) -> tuple[float, ...]:
    """Return the values of a quantity that seem to be codes for something else.

    A few usual negative numbers where nothing else is negative; or a few usual large ones, far
    above everything else.
    """
    values = numbers.drop_nulls().drop_nans().to_numpy()
    different, counts = np.unique(values, return_counts=True)
    coded = np.array([value in _NEGATIVE_CODES for value in different]) & (counts >= _LEAST_CODED)
    negative = different < 0
    rest = different[~negative]
    if negative.any() and len(rest) > 2 * _FEW_CODES:
        usual = negative.sum() <= _FEW_CODES and (coded == negative).all()
        if usual:
            return tuple(different[negative].tolist())
    large = np.array([value in _LARGE_CODES for value in different]) & (counts >= _LEAST_CODED)
    for first in np.flatnonzero(large):
        below = different[:first]
        tail = large[first:]
        usual = len(below) > 2 and tail.all() and len(tail) <= _FEW_CODES
        if usual and below[0] >= 0 and different[first] >= _GAP * max(below[-1], 1):
            return tuple(different[first:].tolist())
    return ()


def _kind(cells: pl.Series) -> Kind:
    numbers = cells.cast(pl.Float64, strict=False).drop_nulls()
    if len(numbers) < _NUMBER_SHARE * len(cells):
        return "category"
    return "code" if set(numbers.unique()) == {0.0, 1.0} else "quantity"


def _words(name: str) -> str:
    # Braces would be taken for places to fill in when a reason is put into words.
    words = name.replace("_", " ").replace("{", "(").replace("}", ")").strip()
    return words[:1].upper() + words[1:]
