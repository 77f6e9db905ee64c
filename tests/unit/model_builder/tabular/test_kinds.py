from __future__ import annotations

import polars as pl
import pytest

from model_builder.tabular.columns import canonical
from model_builder.tabular.kinds import guess_columns, special_codes
from model_builder.tabular.reading import read_text


def guess(write, heard, name, cells):
    lines = [f"{cell},{i % 2}" for i, cell in enumerate(cells)]
    return guess_columns(
        read_text(write("a.csv", "\n".join([f"{name},bad", *lines]))), "bad", heard
    )


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", "-3"], "quantity"),
        (["0", "1", "0", ""], "code"),
        (["0", "1", "2"], "quantity"),
        (["red", "blue"], "category"),
        (["1", "2", "red", "4"], "category"),  # three numbers of four are too few
        (["1", "2", "3", "4", "five"], "quantity"),  # a mistake, which the check will name
        (["1", "", "", "", "2"], "quantity"),
        (["true", "false"], "category"),
    ],
)
def test_the_kind_follows_from_most_of_the_cells(write, heard, cells, kind):
    (column,) = guess(write, heard, "x", cells)
    assert column.kind == kind
    assert heard.lines == []


@pytest.mark.parametrize("name", ["id", "ID", "Unnamed: 0", "row_id"])
def test_numbers_of_rows_are_left_out(write, heard, name):
    assert guess(write, heard, name, ["7", "8", "9"]) == ()
    assert heard.lines == [f"a.csv: column '{name}' numbers the rows; left out."]


@pytest.mark.parametrize("name", ["id", "customer_id", "LoanID", "accountId"])
def test_ids_are_left_out_and_repeated_ones_named(write, heard, name):
    assert guess(write, heard, name, ["7", "7", "9"]) == ()
    (line,) = heard.lines
    assert (
        line == f"a.csv: column '{name}' holds IDs, 1 rows repeat another's or have none; left out."
    )


@pytest.mark.parametrize("name", ["paid", "branch_id"])
def test_what_has_few_values_is_no_id(write, heard, name):
    (column,) = guess(write, heard, name, ["7", "7", "9", "9", "7"])
    assert column.name == name


@pytest.mark.parametrize(
    "cells",
    [['"$1,200"', "$950.50", "$3"], ['"1,200,000"', "7", "8"], ["12%", "3.5 %", "1%"]],
)
def test_numbers_written_as_texts_are_read_and_named(write, heard, cells):
    (column,) = guess(write, heard, "x", cells)
    assert column.kind == "quantity"
    assert "numbers written as texts, such as '" in heard.lines[0]


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ([*range(20), *[-9] * 6, *[-8] * 9], (-9, -8)),
        ([*range(14), *[96] * 5, *[98] * 5], (96, 98)),
        ([*range(20), *[-9] * 4], ()),  # too few to be meant
        ([*range(-30, 60), *[-9] * 9], ()),  # on its scale like any other
        ([*range(80), *[98] * 9], ()),  # not far above the rest
        ([20.5, 30, 41, 52, 98, 98, 98, 98, 98], ()),
    ],
    ids=["negative", "large", "few", "on the scale", "near", "below twice"],
)
def test_special_codes_are_told_from_values(values, codes):
    assert special_codes(pl.Series(values, dtype=pl.Float64)) == codes


@pytest.mark.parametrize("name", ["sex", "ApplicantAge", "foreign_worker", "marital.status"])
def test_attributes_that_may_be_protected_are_marked(write, heard, name):
    (column,) = guess(write, heard, name, ["1", "2", "3"])
    assert column.protected


@pytest.mark.parametrize("name", ["usage", "average_balance", "package", "mortgage"])
def test_a_part_of_a_word_protects_nothing(write, heard, name):
    (column,) = guess(write, heard, name, ["1", "2", "3"])
    assert not column.protected


@pytest.mark.parametrize(("cells", "values"), [(["", "?"], 0), (["5", "5", ""], 1)])
def test_a_column_that_says_nothing_is_left_out(write, heard, cells, values):
    assert guess(write, heard, "x", cells) == ()
    assert heard.lines == [f"a.csv: column 'x' holds {values} value; left out."]


def test_a_name_becomes_words_without_places_to_fill_in(write, heard):
    (column,) = guess(write, heard, "blood_{sugar}", ["1", "2"])
    assert (column.name, column.description) == ("blood_{sugar}", "Blood (sugar)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2.0", "2"), (" 2 ", "2"), ("-0", "0"), ("2.5", "2.5"), ("1e3", "1000"), ("A1", "A1"),
     ("inf", "inf"), ("1e300", "1e300"), ("", "")],
)  # fmt: skip
def test_whole_numbers_have_one_way_to_be_written(text, expected):
    assert canonical(text) == expected
