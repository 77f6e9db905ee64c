from __future__ import annotations

import numpy as np

from model_builder.evaluation.metrics import auc
from model_builder.risk.boosting import Boosting, boosted, relations
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


def test_quantities_of_one_unit_are_related_to_each_other():
    columns = (
        Column("limit", "quantity", unit="euros"),
        Column("age", "quantity", unit="years"),
        Column("colour", "category"),
        Column("bill", "quantity", unit="euros", special_codes={-9.0: "no bill"}),
        Column("paid", "quantity", unit="euros"),
    )
    values = {
        "limit": np.array([100.0, 0.0, np.nan, 40.0]),
        "age": np.array([30.0, 40.0, 50.0, 60.0]),
        "colour": np.array(["red"] * 4, object),
        "bill": np.array([50.0, 5.0, 5.0, -9.0]),
        "paid": np.array([25.0, 5.0, 10.0, 20.0]),
    }
    table = Table(columns, values, np.array([0, 1, 0, 1]), ("paid", "default"))
    nan = np.nan
    np.testing.assert_array_equal(
        relations(table).T,
        [
            [0.5, nan, nan, nan],
            [-50, 5, nan, nan],
            [0.25, nan, nan, 0.5],
            [-75, 5, nan, -20],
            [0.5, 1, 2, nan],
            [-25, 0, 5, nan],
        ],
    )


def test_many_quantities_are_not_all_related():
    values = {f"q{i}": np.arange(3.0) for i in range(40)}
    columns = tuple(Column(name, "quantity") for name in values)
    table = Table(columns, values, np.array([0, 1, 0]), ("paid", "default"))
    assert relations(table).shape == (3, 2 * 120)


def test_a_table_without_quantities_has_no_relations():
    table = Table(
        (Column("word", "category"),),
        {"word": np.array(["a", "b"], object)},
        np.array([0, 1]),
        ("paid", "default"),
    )
    assert relations(table).shape == (2, 0)


def test_trees_that_see_relations_find_a_cause_that_is_one():
    draws = np.random.default_rng(3)
    limit, bill = draws.lognormal(8, 1, (2, ROWS))
    target = (bill > limit).astype(np.int64)
    columns = (Column("limit", "quantity", unit="euros"), Column("bill", "quantity", unit="euros"))
    table = Table(columns, {"limit": limit, "bill": bill}, target, ("paid", "default"))
    rows = np.arange(ROWS)
    plain, related = (
        auc(target[1::2], Boosting(table, trees=50, related=r).learned(rows[::2], rows[1::2], 0))
        for r in (False, True)
    )
    assert related > 0.995 > plain
