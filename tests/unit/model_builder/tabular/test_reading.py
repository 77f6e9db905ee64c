from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from model_builder.errors import DataFault
from model_builder.tabular.reading import read_parquet, read_text


def test_a_csv_keeps_its_columns_and_the_line_of_each_row(write):
    raw = read_text(write("a.csv", "x,y\n1,red\n\n 2 , blue \n"))

    assert raw.frame.to_dict(as_series=False) == {"x": ["1", "2"], "y": ["red", "blue"]}
    assert [raw.row(0), raw.row(1)] == [2, 4]


@pytest.mark.parametrize("text", ["", "?", "NA", "NaN", " ", "null"])
def test_what_says_missing_is_null(write, text):
    assert read_text(write("a.csv", f"x,y\n1,{text}\n")).frame["y"].to_list() == [None]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_is_seen_in_the_first_line(write, separator):
    raw = read_text(write("a.csv", f"x{separator}y\n1{separator}2\n"))
    assert raw.frame.columns == ["x", "y"]


def test_a_byte_order_mark_is_not_part_of_the_first_name(write):
    assert read_text(write("a.csv", "\ufeffx,y\n1,2\n")).frame.columns == ["x", "y"]


def test_a_quoted_cell_may_hold_the_separator_and_a_line_end(write):
    raw = read_text(write("a.csv", 'x,y\n"a,\nb",1\nc,2\n'))
    assert raw.frame["x"].to_list() == ["a,\nb", "c"]
    assert raw.row(1) == 4


def test_spaces_may_separate_and_a_header_may_lack(write):
    raw = read_text(write("a.data", "A11 6  x \nA12 7 y\n"), separator=" ", names=("a", "b", "c"))
    assert raw.frame.to_dicts()[0] == {"a": "A11", "b": "6", "c": "x"}
    assert raw.row(0) == 1


def test_every_row_of_a_wrong_width_is_named(write):
    with pytest.raises(DataFault) as caught:
        read_text(write("a.csv", "x,y\n1\n1,2\n1,2,3\n"))

    assert [(f.row, f.expected, f.found) for f in caught.value.faults] == [
        (2, "2 cells", "1 cell"),
        (4, "2 cells", "3 cells"),
    ]


def test_two_columns_of_one_name_are_a_fault(write):
    with pytest.raises(DataFault, match=r"a.csv, row 1, column 'x': expected column names that"):
        read_text(write("a.csv", "x,y,x\n1,2,3\n"))


def test_a_column_without_a_name_is_a_fault_unless_it_is_the_first(write):
    assert read_text(write("index.csv", ",x\n0,1\n")).frame.columns == ["", "x"]
    with pytest.raises(DataFault, match="none for column 2"):
        read_text(write("a.csv", "x,\n1,2\n"))


@pytest.mark.parametrize("text", ["", "x,y\n", "x,y\n\n\n"])
def test_a_file_without_rows_is_a_fault(write, text):
    with pytest.raises(DataFault, match="expected at least one row of data, found none"):
        read_text(write("a.csv", text))


def test_what_is_no_utf8_is_a_fault(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"x,y\n1,\xff\n")
    with pytest.raises(DataFault, match="expected text in UTF-8, found byte 0xff"):
        read_text(path)


def test_a_parquet_file_is_read_as_texts(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"x": [1.5, float("nan")], "b": [True, None], "n": [3, 4]}).write_parquet(path)

    raw = read_parquet(path)

    assert raw.frame.to_dicts() == [
        {"x": "1.5", "b": "true", "n": "3"},
        {"x": None, "b": None, "n": "4"},
    ]
    assert raw.row(0) == 1


def test_a_parquet_column_of_lists_or_dates_is_a_fault(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"x": [[1], [2]], "y": [1, 2]}).write_parquet(path)
    with pytest.raises(DataFault, match="column 'x': expected numbers or texts"):
        read_parquet(path)


def test_what_is_no_parquet_file_is_a_fault(write):
    with pytest.raises(DataFault, match=r"a\.parquet: expected a Parquet file"):
        read_parquet(write("a.parquet", "x,y\n1,2\n"))
