from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.interactions_log import only_read, prepare, write_log

ROWS = 20_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    write_log(folder, ROWS, users=150, items=80)
    return folder


def test_both_files_hold_the_same_log(folder):
    told = [prepare(folder / name) for name in ("log.csv", "log.parquet")]
    for one in told:
        del one["split_s"]
    assert told[0] == told[1]
    assert only_read(folder / "log.csv") == only_read(folder / "log.parquet")


def test_the_log_has_what_a_real_one_has(folder):
    told = prepare(folder / "log.csv")
    assert told["items"] == 80
    assert ROWS * 0.9 < told["interactions"] < ROWS
    said = " ".join(told["findings"])
    for what in ("repeat another one exactly", "sorted by time", "had at another time"):
        assert what in said
    assert sum(told["split"].values()) == told["interactions"]


def test_the_log_is_the_same_every_time(folder, tmp_path):
    write_log(tmp_path, ROWS, users=150, items=80)
    assert (tmp_path / "log.csv").read_bytes() == (folder / "log.csv").read_bytes()
