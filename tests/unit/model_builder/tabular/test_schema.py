from __future__ import annotations

import numpy as np

from model_builder.tabular.columns import Column
from model_builder.tabular.schema import infer_features
from model_builder.tabular.table import Table


def one_feature(column: Column, values: list[object], rows: list[int] | None = None):
    dtype = object if column.kind == "category" else np.float64
    table = Table(
        (column,), {column.name: np.array(values, dtype)}, np.zeros(len(values), np.int64), ("a",)
    )
    chosen = np.arange(len(values)) if rows is None else np.array(rows)
    (feature,) = infer_features(table, chosen)
    return feature


def test_a_quantity_has_its_range_and_its_median():
    column = Column("duration", "quantity", description="Duration", unit="months")
    feature = one_feature(column, [48, 12, 18, np.nan])

    assert (feature.minimum, feature.maximum, feature.typical) == (12, 48, 18)
    assert (feature.missing_rule, feature.unknown_rule) == ("impute", "clip")
    assert feature.high_text == "Duration of {value} months is above the typical 18 months"
    assert feature.low_text == "Duration of {value} months is at or below the typical 18 months"


def test_only_the_training_rows_count():
    feature = one_feature(Column("x", "quantity"), [1, 2, 3, 1000], rows=[0, 1, 2])
    assert feature.maximum == 3


def test_a_number_is_the_shortest_that_the_tensor_carries():
    feature = one_feature(Column("x", "quantity"), [0.8, 0.9])
    assert feature.typical == 0.85


def test_a_code_lists_what_occurs_and_what_it_means():
    column = Column("cp", "code", description="Chest pain", meanings={"1": "a", "2": "b", "4": "d"})
    feature = one_feature(column, [4, 1, 4, np.nan])

    assert feature.codes == (1, 4)
    assert feature.typical == 4
    assert feature.unknown_rule == "impute"
    assert feature.description == "Chest pain (1: a, 4: d)"
    assert feature.low_text == "Chest pain is {value}, most often 4 (d)"


def test_categories_are_in_the_order_of_the_documentation():
    column = Column("s", "category", description="Savings", meanings={"A": "low", "B": "high"})
    feature = one_feature(column, ["high", "low", "high", ""])

    assert feature.categories == ("low", "high")
    assert feature.typical == "high"
    assert feature.low_text == "Savings is '{value}', most often 'high'"


def test_braces_in_the_data_leave_one_place_to_fill_in():
    feature = one_feature(Column("{x}", "category"), ["{y}", "{y}", "z"])
    assert feature.low_text.format(value="z") == "(x) is 'z', most often '(y)'"
