"""Gradient boosting (LightGBM) as a baseline: what a network on a table has to hold against."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import torch

from model_builder.tabular.model import TableModel
from model_builder.tabular.table import Table
from model_builder.tabular.training import LARGE_TABLE_ROWS

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]

_COMMON: dict[str, Any] = {
    # Slow, small and sampled: better than the library's own defaults on small and noisy tables.
    "learning_rate": 0.02,
    "subsample": 0.7,
    "subsample_freq": 1,
    "colsample_bytree": 0.4,
    "reg_lambda": 5.0,
    "verbose": -1,
}


class Boosting:
    """Boosts trees on the rows of a table, as often as it is asked to."""

    def __init__(self, table: Table, *, trees: int = 250, related: bool = False) -> None:
        """Take numbers as they are, missing ones too, and categories as such.

        Args:
            table: Checked.
            trees: In a model.
            related: Whether trees also see how quantities of one unit relate to each other.
        """
        self._inputs, self._words = _inputs(table)
        if related:
            self._inputs = np.concatenate([self._inputs, relations(table)], axis=1)
        self._target, self._trees = table.target, trees

    def learned(self, learned: Rows, asked: Rows, seed: int) -> Floats:
        """Learn from some rows and return the probability of class 1 of others.

        Args:
            learned: Places of the rows to learn from.
            asked: Places of the rows to answer for.
            seed: Of what it samples.
        """
        large = len(learned) >= LARGE_TABLE_ROWS
        model = lightgbm.LGBMClassifier(
            n_estimators=self._trees,
            num_leaves=15 if large else 8,
            min_child_samples=50 if large else 20,
            random_state=seed,
            n_jobs=torch.get_num_threads(),
            **_COMMON,
        )
        inputs, target = self._inputs[learned], self._target[learned]
        model.fit(inputs, target, categorical_feature=self._words)
        return np.asarray(model.predict_proba(self._inputs[asked]))[:, 1]


_RELATED = 16
"""Quantities of one unit that are related to each other, the first: there are 120 pairs of them."""


def boosted(table: Table, learned: Rows, asked: Rows, seed: int) -> Floats:
    """Do once what :class:`Boosting` does."""
    return Boosting(table).learned(learned, asked, seed)


def boosting_baseline(fitted: TableModel, seed: int) -> dict[str, Floats]:
    """Return ``(rows,)`` probabilities of default by split, for the rows that the network answers.

    Each judged row by a model that has not learnt from it.
    """
    splits, boosting = fitted.splits, Boosting(fitted.table)
    development = splits.development[splits.judging]
    if splits.cross_validated:
        judged = np.zeros(len(development))
        for fold in np.unique(fitted.judged_folds):
            asked = fitted.judged_folds == fold
            learned = development[~asked]
            judged[asked] = boosting.learned(learned, development[asked], seed)
    else:
        judged = boosting.learned(splits.training, development, seed)
    test = boosting.learned(splits.training, splits.test, seed)
    return {splits.judged_split: judged, "test": test}


def relations(table: Table) -> npt.NDArray[np.float64]:
    """Return the ratios and the differences of quantities of one unit, ``(rows, 2 * pairs)``.

    A bill says more beside the limit of the card. NaN where one of the two is missing or a special
    code, or nothing can be divided by it.
    """
    by_unit: dict[str, list[npt.NDArray[np.float64]]] = {}
    for column in table.columns:
        if column.kind == "quantity":
            values = table.values[column.name].astype(np.float64)
            named = np.isin(values, list(column.special_codes))
            by_unit.setdefault(column.unit, []).append(np.where(named, np.nan, values))
    columns = []
    for quantities in by_unit.values():
        for one, other in combinations(quantities[:_RELATED], 2):
            columns += [other / np.where(one == 0, np.nan, one), other - one]
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0))


def _inputs(table: Table) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Return ``(rows, F)`` and which columns are categories."""
    columns, words = [], []
    for place, column in enumerate(table.columns):
        values = table.values[column.name]
        if column.kind == "category":
            words.append(place)
            found = np.unique(values, return_inverse=True)[1].astype(np.float64)
            columns.append(np.where(values == "", np.nan, found))
        else:
            columns.append(values.astype(np.float64))
    return np.stack(columns, axis=1), words
