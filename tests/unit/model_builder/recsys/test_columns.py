from __future__ import annotations

import polars as pl
import pytest

from model_builder.recsys.columns import MAX_ID_LENGTH, find_columns, find_faults


def frame(**columns: list[str | None]) -> pl.DataFrame:
    rows = len(next(iter(columns.values())))
    return pl.DataFrame({**columns, "row": list(range(2, rows + 2))}).cast(
        dict.fromkeys(columns, pl.String)
    )


@pytest.mark.parametrize(
    ("header", "places"),
    [
        (["userId", "movieId", "rating", "timestamp"],
         {"user": 0, "item": 1, "rating": 2, "timestamp": 3}),
        (["timestamp", "item", "user"], {"user": 2, "item": 1, "timestamp": 0}),
        ([" USER_ID", "title", "Movie_Id ", "TimeStamp"], {"user": 0, "item": 2, "timestamp": 3}),
    ],
)  # fmt: skip
def test_columns_are_found_by_any_of_their_names(header, places):
    assert find_columns("log.csv", header) == (places, [])


def test_a_rating_may_be_missing_and_may_not_come_twice():
    assert find_columns("log.csv", ["user", "item", "timestamp"])[1] == []
    _, faults = find_columns("log.csv", ["user", "item", "timestamp", "rating", "Rating"])
    assert [str(fault) for fault in faults] == [
        "log.csv, row 1: expected one column of ratings, found 'rating' and 'Rating'"
    ]


def test_each_missing_column_is_a_fault():
    _, faults = find_columns("log.csv", ["rating"])
    assert [fault.expected.split()[2] for fault in faults] == ["user", "item", "timestamp"]


def test_faults_are_in_the_order_of_rows_then_columns():
    table = frame(user=["a", ""], item=[None, "x"], timestamp=["", "1e999"])
    faults = find_faults(table, "log.csv", {"user": "u", "item": "i", "timestamp": "t"})
    assert [(fault.row, fault.column, fault.found) for fault in faults] == [
        (2, "i", "nothing"),
        (2, "t", "nothing"),
        (3, "u", "nothing"),
        (3, "t", "'1e999'"),
    ]


@pytest.mark.parametrize("text", ["1", "-1", "1.5", "1e3", "0"])
def test_finite_numbers_are_accepted(text):
    assert find_faults(frame(timestamp=[text]), "log.csv", {"timestamp": "t"}) == []


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1,5", "2026-01-01", "true", "1 2"])
def test_anything_else_is_no_number(text):
    (fault,) = find_faults(frame(timestamp=[text]), "log.csv", {"timestamp": "t"})
    assert fault.expected == "a finite number"


@pytest.mark.parametrize(
    ("item_id", "expected"),
    [
        ("x" * (MAX_ID_LENGTH + 1), "an ID of at most 256 characters"),
        ("a\0b", "an ID without NUL"),
    ],
)
def test_an_id_that_no_request_could_carry_is_refused(item_id, expected):
    (fault,) = find_faults(frame(item=[item_id]), "log.csv", {"item": "item"})
    assert fault.expected == expected


def test_an_id_of_just_the_longest_length_is_accepted():
    longest = "ä" * MAX_ID_LENGTH
    assert find_faults(frame(item=[longest]), "log.csv", {"item": "item"}) == []
