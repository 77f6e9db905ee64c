from __future__ import annotations

import numpy as np

from model_builder.evaluation.metrics import auc
from model_builder.risk.boosting import boosted
from model_builder.tabular.columns import Column
from model_builder.tabular.table import Table

ROWS = 600


def make_table(target: np.ndarray) -> Table:
    draws = np.random.default_rng(0)
    number = draws.normal(size=ROWS)
    number[::10] = np.nan
    word = np.where(draws.random(ROWS) < 0.1, "", np.where(target == 1, "x", "y"))
    word = np.where(draws.random(ROWS) < 0.3, "z", word).astype(object)
    columns = (Column("number", "quantity"), Column("word", "category"))
    return Table(columns, {"number": number, "word": word}, target, ("paid", "default"))


def test_it_learns_from_categories_and_bears_gaps():
    target = np.random.default_rng(1).integers(0, 2, ROWS)
    table = make_table(target)
    rows = np.arange(ROWS)
    answers = boosted(table, rows[::2], rows[1::2], seed=0)
    assert auc(target[1::2], answers) > 0.75
    assert ((answers > 0) & (answers < 1)).all()


def test_the_labels_of_the_rows_that_are_asked_decide_nothing():
    target = np.random.default_rng(1).integers(0, 2, ROWS)
    table = make_table(target)
    rows = np.arange(ROWS)
    before = boosted(table, rows[::2], rows[1::2], seed=0)
    target[1::2] = 1 - target[1::2]
    np.testing.assert_array_equal(boosted(table, rows[::2], rows[1::2], seed=0), before)
