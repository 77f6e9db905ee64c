from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from model_builder.data_report import logs
from model_builder.data_report.kinds import is_log
from model_builder.task import ResolvedData


def look(tmp_path, *rows):
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return logs.check(ResolvedData("log.csv", path, "f00d"))


def history(user, *items):
    return [f"{user},{item},{time}" for time, item in enumerate(items)]


def test_a_log_is_described(tmp_path):
    rows = [*history("ann", "a", "b", "c", "d"), *history("bob", "b", "c", "d", "a"), "eve,a,1"]
    report = look(tmp_path, *rows)
    assert report.usable
    assert report.rows == 9
    assert report.facts["users"] == 3
    assert report.facts["items"] == 4
    assert report.facts["users_too_short_to_be_asked"] == 1
    assert report.split == {"train": 5, "validation": 2, "test": 2}
    assert [column.name for column in report.columns] == ["user", "item", "timestamp"]
    assert report.findings == () or {f.subject for f in report.findings} == {"cold items"}


def test_what_makes_the_test_unanswerable_is_warned_of(tmp_path):
    rows = [row for n in range(10) for row in history(f"u{n}", "a", "b", "c", f"new {n}")]
    rows += history("again", "a", "b", "c", "a") * 2
    report = look(tmp_path, *rows)
    texts = {f.subject: f.text for f in report.findings}
    assert texts["cold items"] == "10 of 11 test targets are items that nobody had before"
    assert texts["repeats"].startswith("1 of 11 test targets are items that the user had before")
    assert texts["duplicates"] == (
        "4 rows repeat another one exactly (user, item, time) and are dropped"
    )


def test_a_log_of_newcomers_is_warned_of(tmp_path):
    rows = [*history("ann", *"abcd"), *[f"u{n},a,1" for n in range(5)]]
    assert "short histories" in {f.subject for f in look(tmp_path, *rows).findings}


def test_a_faulty_log_is_an_error(tmp_path):
    report = look(tmp_path, "ann,a,soon")
    assert not report.usable
    assert report.findings[0].column == "timestamp"


def test_items_that_get_popular_late_are_a_drift(tmp_path):
    rows = []
    for n in range(200):
        rows += history(f"u{n}", *[f"i{(n + t) % 150}" for t in range(6)], "hit")
    report = look(tmp_path, *rows)
    assert "drift" in {f.subject for f in report.findings}


@pytest.mark.parametrize(
    ("name", "header", "log"),
    [
        ("log.csv", "userId,movieId,rating,timestamp", True),
        ("log.tsv", "timestamp\titem_id\tuser", True),
        ("loans.csv", "income,user,default", False),
        ("empty.csv", "", False),
        ("ratings.dat", "1::1193::5::978300760", True),
        ("u.data", "196\t242\t3\t881250949", True),
        ("sales.csv", "customer_id,product_id,date,amount", False),
    ],
)
def test_a_log_is_told_from_a_table(tmp_path, name, header, log):
    path = tmp_path / name
    path.write_text(header + "\n")
    assert is_log(path) is log


def test_files_with_names_inside_are_told_apart_too(tmp_path):
    columns = {"user": [1], "item": [2], "timestamp": [3]}
    pl.DataFrame(columns).write_parquet(tmp_path / "log.parquet")
    np.savez(tmp_path / "log.npz", **{name: np.array(rows) for name, rows in columns.items()})
    assert is_log(tmp_path / "log.parquet")
    assert is_log(tmp_path / "log.npz")
    assert not is_log(tmp_path / "nothing.parquet")
    (tmp_path / "ratings.csv").touch()
    assert is_log(tmp_path)
