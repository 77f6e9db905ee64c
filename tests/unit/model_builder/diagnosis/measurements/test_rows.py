from __future__ import annotations

import numpy as np

from model_builder.diagnosis.measurements.rows import leak_findings, without_duplicates
from model_builder.tabular.columns import Column
from model_builder.tabular.splits import Splits
from model_builder.tabular.table import Table


def table(*rows: tuple[float, float], labels: list[int] | None = None) -> Table:
    values = np.array(rows, np.float64)
    columns = (Column("age", "quantity"), Column("sex", "code"))
    return Table(
        columns,
        {"age": values[:, 0], "sex": values[:, 1]},
        np.array(labels or [0] * len(rows), np.int64),
        ("no", "yes"),
    )


NAN = float("nan")
ALIKE = table((1, 0), (2, 1), (1, 0), (NAN, 1), (NAN, 1), (1, 1))


def splits(train: list[int], validation: list[int], test: list[int]) -> Splits:
    development = np.array([*train, *validation])
    held_out = np.zeros((len(development), 2), np.bool_)
    held_out[len(train) :] = True
    return Splits(development, np.array(test), held_out, False)


def test_rows_that_are_alike_are_left_out_but_for_the_first_missing_values_too() -> None:
    found = without_duplicates(ALIKE)
    assert found.values["sex"].tolist() == [0, 1, 1, 1]
    assert found.target.tolist() == [0, 0, 0, 0]
    assert found.findings == ("2 rows are alike another and were left out",)
    assert without_duplicates(found) is found


def test_rows_that_are_alike_but_for_the_label_stay_and_are_counted() -> None:
    unsure = table((1, 0), (2, 1), (1, 0), (1, 0), (NAN, 1), labels=[0, 0, 1, 1, 0])
    found = without_duplicates(unsure)
    assert found.values["age"].tolist()[:3] == [1, 2, 1]
    assert found.target.tolist() == [0, 0, 1, 0]
    assert leak_findings(found, splits([0], [1, 2], [3])) == (
        "2 rows are alike another one with another label",
    )


def test_rows_that_stand_in_two_splits_are_counted() -> None:
    found = leak_findings(ALIKE, splits([0, 1, 3], [2, 5], [4]))
    assert [one.split(";")[0] for one in found] == [
        "1 rows of the train split also stand in the validation split",
        "1 rows of the train split also stand in the test split",
    ]
    assert leak_findings(ALIKE, splits([0, 2], [1, 5], [3, 4])) == ()


def test_where_all_rows_judge_they_are_one_split() -> None:
    held_out = np.eye(4, 2, dtype=np.bool_) | np.eye(4, 2, -2, dtype=np.bool_)
    crossed = Splits(np.arange(4), np.array([4, 5]), held_out, True)
    (found,) = leak_findings(ALIKE, crossed)
    assert found.startswith("1 rows of the train split also stand in the test split")
