from __future__ import annotations

import pytest

from model_builder.recsys.columns import find_columns, find_extra, is_bare


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


@pytest.mark.parametrize(
    "header",
    [
        ["visitorid", "product_id", "time"],
        ["customer_id", "article_id", "t_dat", "price"],
        ["reviewerID", "asin", "overall", "unixReviewTime"],
        ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
    ],
    ids=["retailrocket", "h&m", "amazon", "recbole"],
)
def test_names_of_other_public_logs_are_known(header):
    places, faults = find_columns("log.csv", header)
    assert faults == []
    assert [places["user"], places["item"]] == [0, 1]


def test_our_own_names_come_before_those_of_others():
    header = ["user", "session_id", "item", "asin", "date", "timestamp"]
    assert find_columns("log.csv", header) == ({"user": 0, "item": 2, "timestamp": 5}, [])


def test_a_table_with_other_logs_names_is_no_log_for_sure():
    _, faults = find_columns("sales.csv", ["customer_id", "product_id", "date"], strict=True)
    assert len(faults) == 3


@pytest.mark.parametrize(
    ("cells", "bare"),
    [
        (["1", "1193", "5", "978300760"], True),
        (["A2", "B0", "5.0", "978300760"], True),
        (["1", "1193", "978300760"], False),
        (["userId", "movieId", "rating", "timestamp"], False),
        (["1", "2", "3", "4"], False),
    ],
)
def test_a_file_without_a_header_is_told_by_its_rating_and_time(cells, bare):
    assert is_bare(cells) is bare


def test_other_columns_are_found_by_name_or_missed_by_name():
    places, faults = find_extra("log.csv", ["user", " price ", "shop"], ["price", "hour"])
    assert places == {"price": 1}
    assert [str(fault) for fault in faults] == [
        "log.csv, row 1: expected a column 'hour', found columns user, price, shop"
    ]
