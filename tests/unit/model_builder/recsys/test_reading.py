from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from model_builder.errors import DataFault
from model_builder.recsys.reading import read_log


def write(folder: Path, text: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path) -> list[str]:
    with pytest.raises(DataFault) as caught:
        read_log(path)
    return [str(fault) for fault in caught.value.faults]


def rows(path: Path) -> list[tuple[object, ...]]:
    return read_log(path).select("user", "item", "timestamp").rows()


def test_movielens_is_read_from_its_folder(tmp_path):
    write(tmp_path, "movieId,title\n318,Made up\n", "movies.csv")
    write(tmp_path, "userId,movieId,rating,timestamp\n1,318,4.5,964982703\n", "ratings.csv")
    log = read_log(tmp_path)
    assert log.to_dicts() == [{"user": "1", "item": "318", "timestamp": 964982703, "rating": 4.5}]


@pytest.mark.parametrize(
    "text",
    [
        "user,item,timestamp\nann,0318,5\n",
        "user,item,timestamp,rating\nann,0318,5,1\n",
        "timestamp;item_id;user_id\n5;0318;ann\n",
        "UserID\tITEMID\tTimestamp\nann\t0318\t5\n",
        "﻿user,item,timestamp\r\n ann , 0318 ,5\r\n\r\n",
        'user,item,timestamp,note\nann,"0318",5,"of no\ninterest"\n',
    ],
    ids=["plain", "rating", "semicolons", "tabs", "bom, crlf, blanks, empty line", "more columns"],
)
def test_item_ids_are_the_texts_of_the_file_whatever_its_dialect(text, tmp_path):
    assert rows(write(tmp_path, text)) == [("ann", "0318", 5)]


def test_parquet_with_numbers_and_dates_is_read(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame(
        {"user": [1, 1], "item": [318, 7], "timestamp": ["2026-01-02", "2026-01-01"]}
    ).with_columns(pl.col("timestamp").str.to_date()).write_parquet(path)
    (_, _, later), (_, item, earlier) = rows(path)
    assert (item, later - earlier) == ("7", 1)


def test_a_line_a_user_is_read_oldest_first(tmp_path):
    path = write(tmp_path, "ann 318 7 318\n\nbob 7\n", "log.txt")
    assert rows(path) == [
        ("ann", "318", 0), ("ann", "7", 1), ("ann", "318", 2), ("bob", "7", 0),
    ]  # fmt: skip


def test_fractions_of_a_second_keep_their_order(tmp_path):
    path = write(tmp_path, "user,item,timestamp\na,x,1.75\na,y,1.5\n")
    assert [time for _, _, time in rows(path)] == [1.75, 1.5]


def test_every_faulty_cell_is_named_at_once_in_the_order_of_the_rows(tmp_path):
    path = write(
        tmp_path,
        "userId,movieId,rating,timestamp\n"
        "1,318,4.5,5\n"
        ",318,4.5,5\n"
        "1,,4.5,yesterday\n"
        "1,318,inf,nan\n"
        f"1,{'x' * 257},,5\n",
    )
    assert faults(path) == [
        "log.csv, row 3, column 'userId': expected an ID, found nothing",
        "log.csv, row 4, column 'movieId': expected an ID, found nothing",
        "log.csv, row 4, column 'timestamp': expected a finite number, found 'yesterday'",
        "log.csv, row 5, column 'timestamp': expected a finite number, found 'nan'",
        "log.csv, row 5, column 'rating': expected a finite number, found 'inf'",
        "log.csv, row 6, column 'movieId': expected an ID of at most 256 characters, "
        f"found '{'x' * 40}…'",
        "log.csv, row 6, column 'rating': expected a finite number, found nothing",
    ]


def test_a_row_is_the_line_on_which_it_starts(tmp_path):
    path = write(tmp_path, 'user,item,timestamp,note\na,x,1,"two\nlines"\na,x,late,\n')
    assert faults(path) == [
        "log.csv, row 4, column 'timestamp': expected a finite number, found 'late'"
    ]


def test_missing_and_doubled_columns_are_named_together(tmp_path):
    path = write(tmp_path, "user,userId,when\n1,1,5\n")
    assert faults(path) == [
        "log.csv, row 1: expected one column of users, found 'user' and 'userId'",
        "log.csv, row 1: expected a column item or itemId or item_id or movieId or movie_id, "
        "found columns user, userId, when",
        "log.csv, row 1: expected a column timestamp, found columns user, userId, when",
    ]


def test_rows_with_too_many_cells_are_named(tmp_path):
    path = write(tmp_path, "user,item,timestamp\na,x,1\na,y,2,3\nb,x,1,,\n")
    assert faults(path) == [
        "log.csv, row 3: expected 3 cells, found 4 cells",
        "log.csv, row 4: expected 3 cells, found 5 cells",
    ]


@pytest.mark.parametrize("text", ["user,item,timestamp\n", "user,item,timestamp\n\n"])
def test_a_log_without_rows_is_refused(text, tmp_path):
    assert faults(write(tmp_path, text)) == [
        "log.csv: expected at least one interaction, found none"
    ]


def test_an_empty_file_is_refused(tmp_path):
    assert "expected" in faults(write(tmp_path, ""))[0]
    assert faults(write(tmp_path, "", "log.txt")) == [
        "log.txt: expected at least one interaction, found none"
    ]


def test_a_user_without_items_and_a_user_twice_are_refused(tmp_path):
    assert faults(write(tmp_path, "ann 1\nbob\nann 2\n", "log.txt")) == [
        "log.txt, row 2: expected items after user 'bob', found none",
        "log.txt, row 3: expected one line a user, found 'ann' again",
    ]


def test_parquet_columns_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": [1.5], "item": ["x"], "timestamp": [True]}).write_parquet(path)
    assert faults(path) == [
        "log.parquet, column 'user': expected texts or integers, found Float64",
        "log.parquet, column 'timestamp': expected numbers, found Boolean",
    ]


def test_nulls_in_parquet_are_named_by_row(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": ["a", "a"], "item": ["x", None], "timestamp": [1, 2]}).write_parquet(path)
    assert faults(path) == ["log.parquet, row 2, column 'item': expected an ID, found nothing"]


def test_files_that_are_no_log_are_refused(tmp_path):
    (tmp_path / "log.parquet").write_bytes(b"not parquet at all")
    assert "expected a Parquet file" in faults(tmp_path / "log.parquet")[0]
    (tmp_path / "log.csv").write_bytes(b"user,item,timestamp\n\xff,x,1\n")
    assert "expected" in faults(tmp_path / "log.csv")[0]
    assert "expected a folder with ratings.csv or only one file" in faults(tmp_path)[0]
    assert "expected a readable file" in faults(tmp_path / "none.csv")[0]
