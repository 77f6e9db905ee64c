"""Gradient boosting (LightGBM) as a baseline: what a network on a table has to hold against."""

from __future__ import annotations

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
    "n_estimators": 250,
    "subsample": 0.7,
    "subsample_freq": 1,
    "colsample_bytree": 0.4,
    "reg_lambda": 5.0,
    "verbose": -1,
}


def boosted(table: Table, learned: Rows, asked: Rows, seed: int) -> Floats:
    """Learn from some rows of a table and return the probability of class 1 of others.

    Args:
        table: Numbers are taken as they are, missing ones too; categories as such.
        learned: Places of the rows to learn from.
        asked: Places of the rows to answer for.
        seed: Of what it samples.
    """
    inputs, words = _inputs(table)
    large = len(learned) >= LARGE_TABLE_ROWS
    model = lightgbm.LGBMClassifier(
        num_leaves=15 if large else 8,
        min_child_samples=50 if large else 20,
        random_state=seed,
        n_jobs=torch.get_num_threads(),
        **_COMMON,
    )
    model.fit(inputs[learned], table.target[learned], categorical_feature=words)
    return np.asarray(model.predict_proba(inputs[asked]))[:, 1]


def boosting_baseline(fitted: TableModel, seed: int) -> dict[str, Floats]:
    """Return ``(rows,)`` probabilities of default by split, for the rows that the network answers.

    Each judged row by a model that has not learnt from it.
    """
    splits = fitted.splits
    development = splits.development[splits.judging]
    if splits.cross_validated:
        judged = np.zeros(len(development))
        for fold in np.unique(fitted.judged_folds):
            asked = fitted.judged_folds == fold
            learned = development[~asked]
            judged[asked] = boosted(fitted.table, learned, development[asked], seed)
    else:
        judged = boosted(fitted.table, splits.training, development, seed)
    test = boosted(fitted.table, splits.training, splits.test, seed)
    return {splits.judged_split: judged, "test": test}


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
