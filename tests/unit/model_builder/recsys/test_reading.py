from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from model_builder.errors import DataFault
from model_builder.recsys import sources
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
    return read_log(path).frame.select("user", "item", "timestamp").rows()


def test_movielens_is_read_from_its_folder(tmp_path):
    write(tmp_path, "movieId,title\n318,Made up\n", "movies.csv")
    write(tmp_path, "userId,movieId,rating,timestamp\n1,318,4.5,964982703\n", "ratings.csv")
    log = read_log(tmp_path).frame
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
    assert (item, (later - earlier) * read_log(path).unit_s) == ("7", 86_400)


def test_a_line_a_user_is_read_oldest_first(tmp_path):
    path = write(tmp_path, "ann 318 7 318\n\nbob 7\n", "log.txt")
    assert rows(path) == [
        ("ann", "318", 0), ("ann", "7", 1), ("ann", "318", 2), ("bob", "7", 3),
    ]  # fmt: skip
    assert read_log(path).unit_s is None


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("u1\t318\t7\t318\nu2\t5\t9\n", ["318", "7", "318", "5", "9"]),
        ("u1 318,a 7;b\nu2 5\n", ["318,a", "7;b", "5"]),
        ("u1 a::b c\nu2 d::e\n", ["a::b", "c", "d::e"]),
        ("u1\t318\nu1\t7\nu2\t5\n", ["318", "7", "5"]),
    ],
    ids=["tabs", "commas in IDs", "colons in IDs", "an interaction a line"],
)
def test_a_line_a_user_is_told_from_a_table_by_its_words(text, items, tmp_path):
    path = write(tmp_path, text, "sequences.txt")
    assert [item for _, item, _ in rows(path)] == items


def test_a_table_of_unknown_names_is_not_taken_for_users(tmp_path):
    found = faults(write(tmp_path, "who,what\nann,318\n", "log.txt"))
    assert all("expected a column" in fault for fault in found)


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
        "1,318,good,nan\n"
        f"1,{'x' * 257},,5\n",
    )
    assert faults(path) == [
        "log.csv, row 3, column 'userId': expected an ID, found nothing",
        "log.csv, row 4, column 'movieId': expected an ID, found nothing",
        "log.csv, row 4, column 'timestamp': expected a finite number, found 'yesterday'",
        "log.csv, row 5, column 'timestamp': expected a finite number, found 'nan'",
        "log.csv, row 5, column 'rating': expected a number, found 'good'",
        "log.csv, row 6, column 'movieId': expected an ID of at most 256 characters, "
        f"found '{'x' * 40}…'",
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
    more = write(tmp_path, "user,item,timestamp,note\na,x,1,good,bad\n")
    assert faults(more) == ["log.csv, row 2: expected 4 cells, found 5 cells"]


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
    assert "expected a folder with ratings.csv, ratings.dat or only one file" in faults(tmp_path)[0]
    assert "expected a readable file" in faults(tmp_path / "none.csv")[0]


def test_movielens_1m_is_read_from_its_folder(tmp_path):
    write(tmp_path, "1::Toy Story (1995)::Animation\n", "movies.dat")
    write(tmp_path, "1::1193::5::978300760\n1::661::3.5::978302109\n", "ratings.dat")
    log = read_log(tmp_path)
    assert log.frame.rows() == [("1", "1193", 978300760, 5.0), ("1", "661", 978302109, 3.5)]
    assert log.unit_s == 1.0


def test_double_colons_may_have_a_header_and_what_does_not_fit_is_named(tmp_path):
    good = write(tmp_path, "MovieID::UserID::Timestamp\n7::ann::5\n", "log.dat")
    assert rows(good) == [("ann", "7", 5)]
    bad = write(tmp_path, "1::7::5::978300760\n1::a:b::5::978300761\n1::7::5::9::9\n", "bad.dat")
    odd = write(tmp_path, "1::7::5::978300760\n1:x:7::5::978300761\n", "odd.dat")
    assert faults(bad) == [
        "bad.dat, row 2: expected 4 cells with '::' between them, found '1::a:b::5::978300761'",
        "bad.dat, row 3: expected 4 cells with '::' between them, found '1::7::5::9::9'",
    ]
    assert faults(odd) == [
        "odd.dat, row 2: expected 4 cells with '::' between them, found '1:x:7::5::978300761'"
    ]
    short = write(tmp_path, "1::7::5::978300760\n1::7::5\n", "short.dat")
    assert faults(short) == [
        "short.dat, row 2, column 'timestamp': expected a finite number, found nothing"
    ]


def test_movielens_100k_and_ratings_without_a_header_are_read(tmp_path):
    data = write(tmp_path, "196\t242\t3\t881250949\n186\t302\t3\t891717742\n", "u.data")
    assert rows(data) == [("196", "242", 881250949), ("186", "302", 891717742)]
    ratings = write(tmp_path, "A2,B0,5.0,1355616000\nA2,,1.0,1355616001\n")
    assert faults(ratings) == ["log.csv, row 2, column 'item': expected an ID, found nothing"]


def test_recbole_is_read(tmp_path):
    text = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t3\t881250949.0\n"
    assert rows(write(tmp_path, text, "ml.inter")) == [("1", "7", 881250949.0)]


def test_an_interaction_a_line_is_read_in_the_order_of_the_file(tmp_path):
    path = write(tmp_path, "1 10\n1 30\n2 10\n1 20\n", "ml-1m.txt")
    assert rows(path) == [("1", "10", 0), ("1", "30", 1), ("2", "10", 2), ("1", "20", 3)]


def test_a_column_that_is_called_row_is_read_like_any_other(tmp_path):
    path = write(tmp_path, "user,item,timestamp,row\nann,a,1,7\n")
    assert read_log(path, ["row"]).frame["row"].to_list() == ["7"]


def test_extra_columns_come_along_as_they_are(tmp_path):
    text = "user,item,timestamp,price,shop\na,x,1,2.5,north\na,y,2,,\nb,x,,1,south\n"
    frame = read_log(write(tmp_path, text), ["shop", "price"], max_faulty_share=0.5).frame
    assert frame.select("item", "shop", "price").rows() == [
        ("x", "north", "2.5"),
        ("y", None, None),
    ]
    assert faults_of_extra(tmp_path, "hour") == [
        "log.csv, row 1: expected a column 'hour', found columns user, item, timestamp, price, shop"
    ]
    lines = write(tmp_path, "a x y\n", "log.txt")
    with pytest.raises(DataFault, match="expected columns hour, found users and items"):
        read_log(lines, ["hour"])


def faults_of_extra(folder: Path, name: str) -> list[str]:
    with pytest.raises(DataFault) as caught:
        read_log(folder / "log.csv", [name])
    return [str(fault) for fault in caught.value.faults]


def test_negative_ratings_are_left_out_and_counted(tmp_path):
    log = read_log(write(tmp_path, "user,item,timestamp,rating\na,x,1,-1\na,y,2,0\na,z,3,5\n"))
    assert log.frame["item"].to_list() == ["y", "z"]
    assert log.counts.happened() == {"rows": 3, "ratings_negative": 1}


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_ratings_that_are_not_finite_are_left_out_and_counted(text, tmp_path):
    path = write(tmp_path, f"user,item,timestamp,rating\na,x,1,{text}\na,z,3,5\n")
    log = read_log(path)
    assert log.frame["item"].to_list() == ["z"]
    assert log.counts.happened() == {"rows": 2, "ratings_not_finite": 1}


def test_a_missing_rating_is_counted_and_its_row_kept(tmp_path):
    log = read_log(write(tmp_path, "user,item,timestamp,rating\na,x,1,\na,z,3,5\n"))
    assert log.frame["item"].to_list() == ["x", "z"]
    assert log.counts.happened() == {"rows": 2, "ratings_missing": 1}


def test_ratings_of_parquet_are_treated_alike(tmp_path):
    path = tmp_path / "log.parquet"
    ratings = [-1.0, float("nan"), None, 4.0]
    pl.DataFrame(
        {"user": [1] * 4, "item": [1, 2, 3, 4], "timestamp": [1, 2, 3, 4], "rating": ratings}
    ).write_parquet(path)
    log = read_log(path)
    assert log.frame["item"].to_list() == ["3", "4"]
    assert log.counts.happened() == {
        "rows": 4, "ratings_negative": 1, "ratings_not_finite": 1, "ratings_missing": 1,
    }  # fmt: skip


FAULTY = "user,item,timestamp\na,x,1\n,y,2\na,,3\na,z,\nb\na,w,5\n"


def test_missing_fields_and_empty_ids_are_refused_by_default(tmp_path):
    assert faults(write(tmp_path, FAULTY)) == [
        "log.csv, row 3, column 'user': expected an ID, found nothing",
        "log.csv, row 4, column 'item': expected an ID, found nothing",
        "log.csv, row 5, column 'timestamp': expected a finite number, found nothing",
        "log.csv, row 6, column 'item': expected an ID, found nothing",
        "log.csv, row 6, column 'timestamp': expected a finite number, found nothing",
    ]


def test_as_many_faulty_rows_as_allowed_are_left_out_and_counted(tmp_path):
    path = write(tmp_path, FAULTY)
    log = read_log(path, max_faulty_share=4 / 6)
    assert log.frame["item"].to_list() == ["x", "w"]
    assert log.counts.happened() == {"rows": 6, "faulty": 4}
    with pytest.raises(DataFault, match="row 3, column 'user'"):
        read_log(path, max_faulty_share=0.6)


def test_a_log_of_which_nothing_can_be_used_is_refused(tmp_path):
    path = write(tmp_path, "user,item,timestamp,rating\na,x,1,-1\n")
    assert faults(path) == [
        "log.csv: expected at least one interaction that can be used, found none"
    ]


def test_of_very_many_faults_the_first_are_named_and_all_counted(tmp_path):
    path = write(tmp_path, "user,item,timestamp\n" + "a,x,late\n" * 1500)
    with pytest.raises(DataFault, match="… and 1,480 more") as caught:
        read_log(path)
    assert len(caught.value.faults) == 1000
    assert caught.value.faults[-1].row == 1001


@pytest.mark.parametrize(
    ("times", "unit_s"),
    [(("1700000001000", "1700000000000"), 1e-3),
     (("2026-01-01T00:00:01Z", "2026-01-01 00:00:00"), 1e-6)],
    ids=["milliseconds", "iso"],
)  # fmt: skip
def test_times_in_milliseconds_or_iso_are_a_second_apart(times, unit_s, tmp_path):
    log = read_log(write(tmp_path, "user,item,timestamp\n" + "".join(f"a,x,{t}\n" for t in times)))
    later, earlier = log.frame["timestamp"]
    assert log.unit_s == unit_s
    assert (later - earlier) * log.unit_s == pytest.approx(1.0)


def test_times_in_another_unit_are_counted(tmp_path):
    text = "user,item,timestamp\na,x,1700000000000\na,y,1700000000001\na,z,1700000000\n"
    assert read_log(write(tmp_path, text)).counts.happened() == {
        "rows": 3, "times_in_another_unit": 1,
    }  # fmt: skip


def test_pieces_are_joined_as_if_there_were_one(tmp_path, monkeypatch):
    text = "".join(f"u{n % 7},i{n % 5},{n}{'.5' if n == 40 else ''}\n" for n in range(50))
    path = write(tmp_path, f"user,item,timestamp\n{text}")
    whole = read_log(path).frame
    monkeypatch.setattr(sources, "_PIECE", 4)
    pieces = read_log(path).frame
    assert pieces.cast({"user": pl.String, "item": pl.String}).equals(
        whole.cast({"user": pl.String, "item": pl.String})
    )
    bad = write(tmp_path, f"user,item,timestamp\n{text}a,,7\n", "bad.csv")
    assert faults(bad) == ["bad.csv, row 52, column 'item': expected an ID, found nothing"]


def test_lines_of_users_are_read_in_pieces_too(tmp_path, monkeypatch):
    path = write(tmp_path, "".join(f"u{n} {n} {n + 1}\n" for n in range(40)), "log.txt")
    monkeypatch.setattr(sources, "_PIECE", 1)
    places = [place for _, _, place in rows(path)]
    assert places == list(range(80))
