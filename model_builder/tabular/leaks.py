"""Finds columns that know the outcome: most often they were written down after it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from model_builder.evaluation.metrics import auc
from model_builder.tabular.table import Table

LEAK = 0.98
"""AUC of one column alone: no honest one predicts so well."""
_LEAST_ROWS = 20
"""With a value, and with each category: fewer tell by chance."""


def leaking_columns(table: Table) -> Iterator[tuple[str, float, str]]:
    """Give the columns of a table of two classes that alone order them, with their AUC.

    The last word says what tells: its ``value``, or whether it is ``missing``.
    """
    for column in table.columns:
        values = table.values[column.name]
        if column.kind == "category":
            missing, score = values == "", _rates(values, table.target)
        else:
            missing = np.isnan(values)
            score = np.where(missing, np.nan, values.astype(np.float64))
        known = ~np.isnan(score) & ~missing
        if known.sum() >= _LEAST_ROWS:
            found = _either_way(table.target[known], score[known])
            if found >= LEAK:
                yield column.name, found, "value"
        found = _either_way(table.target, missing.astype(np.float64))
        if found >= LEAK:
            yield column.name, found, "missing"


def _either_way(target: npt.NDArray[np.int64], score: npt.NDArray[np.float64]) -> float:
    found = auc(target, score)
    return 0.0 if np.isnan(found) else max(found, 1 - found)


def _rates(
    words: npt.NDArray[np.generic], target: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the share of class 1 among the rows of each row's category; NaN of a rare one."""
    _, places = np.unique(words, return_inverse=True)
    counts = np.bincount(places)
    with np.errstate(invalid="ignore"):
        rates = np.bincount(places, target) / counts
    rates[counts < _LEAST_ROWS] = np.nan
    return np.asarray(rates[places])
