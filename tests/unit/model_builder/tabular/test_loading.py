from __future__ import annotations

import numpy as np
import pytest

from model_builder.errors import DataFault
from model_builder.tabular.loading import load_table
from model_builder.tabular.targets import finding_target, outcome_target
from model_builder.task import ResolvedData

ROWS = "".join(f"{i},{i / 2},{'red' if i % 3 else 'blue'},{i % 2}\n" for i in range(40))
HEADER = "id,x,colour,bad\n"


def load(path, heard, *, label=None, rule=outcome_target, name=None, generated=False):
    data = ResolvedData(name or path.name, path, "", label=label, generated=generated)
    return load_table(data, rule, heard)


def faults(path, heard, **options):
    with pytest.raises(DataFault) as caught:
        load(path, heard, **options)
    return caught.value.faults


def test_numbers_categories_and_the_last_column_as_target(write, heard):
    table = load(write("a.csv", HEADER + ROWS), heard)

    assert [(c.name, c.kind) for c in table.columns] == [("x", "quantity"), ("colour", "category")]
    assert table.numbers.shape == (40, 1)
    assert table.categories[:2, 0].tolist() == ["blue", "red"]
    assert table.target[:3].tolist() == [0, 1, 0]
    assert table.labels == ("paid", "default")


def test_row_numbers_and_constant_columns_are_left_out_aloud(write, heard):
    text = HEADER.replace("x", "x,same") + ROWS.replace(",r", ",5,r").replace(",b", ",5,b")
    table = load(write("a.csv", text), heard)

    assert [column.name for column in table.columns] == ["x", "colour"]
    assert heard.lines == [
        "a.csv: column 'id' numbers the rows; left out.",
        "a.csv: column 'same' holds 1 value; left out.",
    ]


def test_the_label_may_be_any_column(write, heard):
    table = load(write("a.csv", HEADER + ROWS), heard, label="colour", rule=finding_target)
    assert table.labels == ("blue", "red")
    assert [column.name for column in table.columns] == ["x", "bad"]
    assert table.columns[1].kind == "code"


def test_a_label_that_is_no_column_is_a_fault(write, heard):
    (fault,) = faults(write("a.csv", HEADER + ROWS), heard, label="worse")
    assert fault.expected == "a column 'worse' to predict"
    assert fault.found == "id, x, colour, bad"


def test_every_faulty_cell_is_named_in_the_order_of_the_rows(write, heard):
    lines = (HEADER + ROWS).splitlines()
    lines[3] = "2,,red,"
    lines[5] = "4,two,red,0"
    lines[8] = "7,inf,red,1"

    found = faults(write("a.csv", "\n".join(lines)), heard)

    assert [str(fault) for fault in found] == [
        "a.csv, row 4, column 'bad': expected one of 0, 1, found no value",
        "a.csv, row 6, column 'x': expected a number, found 'two'",
        "a.csv, row 9, column 'x': expected a finite number, found 'inf'",
    ]


def test_a_number_too_large_for_the_tensor_is_a_fault(write, heard):
    (fault,) = faults(write("a.csv", HEADER + ROWS.replace("1,0.5,", "1,1e39,", 1)), heard)
    assert (fault.expected, fault.found) == ("a finite number", "'1e39'")


def test_sentences_are_no_categories(write, heard):
    rows = "".join(f"text number {i},{i % 2}\n" for i in range(300))
    (fault,) = faults(write("a.csv", "note,bad\n" + rows), heard)
    assert fault.column == "note"
    assert fault.found == "300 different texts"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["1", "1"], "'1'"),
        (["1", "2"], "'1', '2'"),
        (["0", "1", "2"], "'0', '1', '2'"),
        (["", ""], "no value"),
    ],
)
def test_an_outcome_must_be_two_values_that_say_which_is_default(write, heard, values, found):
    rows = "".join(f"{i},{values[i % len(values)]}\n" for i in range(60))
    (fault,) = faults(write("a.csv", "x,bad\n" + rows), heard)
    assert fault.column == "bad"
    assert fault.found == found


@pytest.mark.parametrize("pair", [("good", "bad"), ("No", "Yes"), ("0.0", "1.0"), ("paid", "1")])
def test_an_outcome_may_be_in_words(write, heard, pair):
    rows = "".join(f"{i},{pair[i % 2]}\n" for i in range(40))
    assert load(write("a.csv", "x,bad\n" + rows), heard).target[:4].tolist() == [0, 1, 0, 1]


def test_too_many_findings_are_a_fault(write, heard):
    rows = "".join(f"{i},{i}\n" for i in range(60))
    (fault,) = faults(write("a.csv", "x,sick\n" + rows), heard, rule=finding_target)
    assert fault.expected == "2 to 20 different findings"
    assert fault.found == "'0', '1', '2', '3', '4', … (60 in all)"


def test_findings_that_are_numbers_are_in_their_order(write, heard):
    rows = "".join(f"{i},{(10, 9, 2)[i % 3]}\n" for i in range(60))
    table = load(write("a.csv", "x,sick\n" + rows), heard, rule=finding_target)
    assert table.labels == ("2", "9", "10")


def test_a_class_with_few_rows_is_a_fault(write, heard):
    rows = "".join(f"{i},{'rare' if i < 9 else 'common'}\n" for i in range(60))
    (fault,) = faults(write("a.csv", "x,sick\n" + rows), heard, rule=finding_target)
    assert (fault.expected, fault.found) == ("at least 10 rows of class 'rare'", "9")


def test_nothing_beside_the_label_is_a_fault(write, heard):
    rows = "".join(f"{i % 2}\n" for i in range(60))
    (fault,) = faults(write("a.csv", "bad\n" + rows), heard)
    assert fault.expected == "at least one column beside the label"


def test_another_kind_of_file_is_a_fault(write, heard):
    (fault,) = faults(write("a.xlsx", "x"), heard)
    assert fault.expected == "a .csv, .parquet or .npz file"


GERMAN_ROW = "A11 6 A34 A43 1169 A65 A75 4 A93 A101 4 A121 67 A143 A152 2 A173 1 A192 A201 {}\n"


def test_german_credit_is_decoded(write, heard):
    path = write("german.data", "".join(GERMAN_ROW.format(1 + i % 2) for i in range(40)))
    table = load(path, heard)

    assert len(table.columns) == 20
    assert table.numbers[0].tolist() == [6, 1169, 4, 4, 67, 2, 1]
    assert table.categories[0, :3].tolist() == [
        "below 0 DM",
        "critical account or other credits elsewhere",
        "radio or television",
    ]
    assert table.target[:2].tolist() == [0, 1]


def test_a_code_that_german_credit_does_not_have_is_a_fault(write, heard):
    rows = [GERMAN_ROW.format(1 + i % 2) for i in range(40)]
    rows[4] = rows[4].replace("A11", "A19")
    (fault,) = faults(write("german.data", "".join(rows)), heard)
    assert str(fault) == (
        "german.data, row 5, column 'checking_status': "
        "expected one of A11, A12, A13, A14, found 'A19'"
    )


def test_cleveland_counts_every_grade_as_disease(write, heard):
    row = "63.0,1.0,4.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,?,6.0,{}\n"
    path = write("processed.cleveland.data", "".join(row.format(i % 5) for i in range(60)))
    table = load(path, heard, rule=finding_target)

    assert table.labels == ("no disease", "disease")
    assert table.target[:6].tolist() == [0, 1, 1, 1, 1, 0]
    assert np.isnan(table.values["ca"]).all()
    assert table.categories.shape == (60, 0)


def test_a_label_that_a_known_set_does_not_have_is_a_fault(write, heard):
    path = write("german.data", GERMAN_ROW.format(1))
    (fault,) = faults(path, heard, label="purpose")
    assert fault.expected == "label 'class' for data set 'german-credit'"


def test_a_folder_with_one_file_is_that_file(write, heard, tmp_path):
    write("a.csv", HEADER + ROWS)
    assert len(load(tmp_path, heard)) == 40
