from __future__ import annotations

import pytest

from model_builder.tabular.columns import canonical
from model_builder.tabular.kinds import guess_columns
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


def test_an_id_that_repeats_is_a_column_like_any_other(write, heard):
    (column,) = guess(write, heard, "id", ["7", "7", "9"])
    assert column.name == "id"


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
