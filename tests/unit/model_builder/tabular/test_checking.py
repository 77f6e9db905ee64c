from __future__ import annotations

import numpy as np
import pytest

from model_builder.errors import DataFault
from model_builder.tabular.checking import check_table
from model_builder.tabular.columns import Column, Target
from model_builder.tabular.reading import read_text

TARGET = Target("bad", ("paid", "default"), {"0": 0, "1": 1})
STATUS = Column("status", "category", "S", meanings={"1": "single", "2": "married"})
GRADE = Column("grade", "code", meanings={"1": "low", "2": "high"})


def check(write, header, row, columns, changed=None, target=TARGET):
    """Check 40 rows, each ``row`` with its number and class; ``changed`` are others by place."""
    lines = [row.format(i=i, bad=i % 2) for i in range(40)]
    for place, line in (changed or {}).items():
        lines[place] = line
    text = "\n".join([header, *lines]) + "\n"
    return check_table(read_text(write("a.csv", text)), columns, target)


def faults(*arguments, **options):
    with pytest.raises(DataFault) as caught:
        check(*arguments, **options)
    return [str(fault) for fault in caught.value.faults]


def test_every_column_that_is_absent_is_named(write):
    columns = (Column("x", "quantity"), Column("age", "quantity", "AGE"))
    other = Target("worse", TARGET.labels, TARGET.classes)
    assert faults(write, "x,bad", "{i},{bad}", columns, target=other) == [
        "a.csv: expected a column 'AGE', found none",
        "a.csv: expected a column 'worse', found none",
    ]


def test_words_are_told_by_their_code_however_the_number_is_written(write):
    table = check(write, "S,bad", "1,{bad}", (STATUS,), {1: "2.0,1", 2: "?,0"})
    assert table.values["status"][:3].tolist() == ["single", "married", ""]


def test_a_word_that_is_not_documented_is_a_fault(write):
    assert faults(write, "S,bad", "1,{bad}", (STATUS,), {3: "3,1", 9: "x,1"}) == [
        "a.csv, row 5, column 'S': expected one of 1, 2, found '3'",
        "a.csv, row 11, column 'S': expected one of 1, 2, found 'x'",
    ]


def test_a_code_that_is_not_documented_is_a_fault_but_a_missing_one_is_not(write):
    assert faults(write, "grade,bad", "1,{bad}", (GRADE,), {2: ",0", 3: "7,1"}) == [
        "a.csv, row 5, column 'grade': expected one of 1, 2, found '7'"
    ]


def test_a_row_without_an_outcome_is_a_fault(write):
    assert faults(write, "x,bad", "{i},{bad}", (Column("x", "quantity"),), {4: "4,", 6: "6,2"}) == [
        "a.csv, row 6, column 'bad': expected one of 0, 1, found no value",
        "a.csv, row 8, column 'bad': expected one of 0, 1, found '2'",
    ]


@pytest.mark.parametrize("number", ["1e39", "-1e39", "inf", "-inf"])
def test_what_the_tensor_cannot_hold_is_no_number(write, number):
    found = faults(write, "x,bad", "{i},{bad}", (Column("x", "quantity"),), {0: f"{number},0"})
    assert found == [f"a.csv, row 2, column 'x': expected a finite number, found '{number}'"]


def test_a_long_cell_is_cut_short_in_the_fault(write):
    (fault,) = faults(
        write, "x,bad", "{i},{bad}", (Column("x", "quantity"),), {0: f"{'y' * 500},0"}
    )
    assert fault.endswith(f"expected a number, found '{'y' * 60}'")


def test_missing_numbers_are_nan_and_the_rest_is_as_written(write):
    table = check(write, "x,bad", "{i},{bad}", (Column("x", "quantity"),), {0: "NA,0", 1: "1e-3,1"})
    np.testing.assert_array_equal(table.values["x"][:3], [np.nan, 0.001, 2])
    assert table.numbers.dtype == np.float32
    assert table.categories.shape == (40, 0)
    assert len(table) == 40


def test_faults_of_every_column_come_in_the_order_of_the_rows(write):
    columns = (Column("x", "quantity"), STATUS)
    changed = {7: "a,1,1", 3: "3,9,1", 5: "5,1,?"}
    rows = [fault.split(", ")[1] for fault in
            faults(write, "x,S,bad", "{i},1,{bad}", columns, changed)]  # fmt: skip
    assert rows == ["row 5", "row 7", "row 9"]
