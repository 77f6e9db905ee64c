from __future__ import annotations

import numpy as np
import pytest

from model_builder.data_report import tables
from model_builder.tabular.targets import finding_target, outcome_target
from model_builder.tabular.training import TabularConfig
from model_builder.task import ResolvedData


def rows(count=400, seed=3):
    draws = np.random.default_rng(seed)
    colours = draws.choice(["red", "blue"], count)
    return [
        [f"{i}", f"{draws.normal():.5f}", colour, "5", "ann" if i % 2 else "", f"{i % 2}"]
        for i, colour in enumerate(colours)
    ]


HEADER = ["id", "x", "colour", "same", "name", "bad"]


@pytest.fixture
def look(tmp_path):
    def check(table, header=HEADER, rule=outcome_target, **config):
        path = tmp_path / "a.csv"
        path.write_text("\n".join(",".join(row) for row in [header, *table]) + "\n")
        return tables.check(ResolvedData("a.csv", path, "f00d"), rule, TabularConfig(**config))

    return check


def found(report):
    return {(f.level, f.subject, f.column) for f in report.findings}


def test_every_column_is_described(look):
    report = look(rows())
    assert report.usable
    assert report.rows == 400
    assert {column.name: column.kind for column in report.columns} == {
        "id": "left out",
        "x": "quantity",
        "colour": "category",
        "same": "left out",
        "name": "left out",
        "bad": "label",
    }
    by_name = {column.name: column for column in report.columns}
    assert by_name["name"].missing == 200
    assert by_name["colour"].different == 2
    assert by_name["x"].values.endswith("median " + by_name["x"].values.split()[-1])
    assert "red" in by_name["colour"].values


def test_what_is_left_out_is_said(look):
    assert found(look(rows())) == {
        ("warning", "schema", "id"),
        ("warning", "constant", "same"),
        ("warning", "constant", "name"),
    }


def test_classes_are_counted_in_each_split(look):
    report = look(rows(), cross_validate_below=0)
    assert report.classes == {
        "paid": {"train": 120, "test": 40, "validation": 40},
        "default": {"train": 120, "test": 40, "validation": 40},
    }
    assert report.split == {"train": 240, "test": 80, "validation": 80}
    assert len(report.split_sha256) == 64


def test_a_rare_class_is_warned_of(look):
    table = [[*row[:-1], "1" if i < 15 else "0"] for i, row in enumerate(rows())]
    assert ("warning", "class balance", None) in found(look(table))


def test_duplicates_are_counted_also_across_splits_and_with_another_label(look):
    header, table = HEADER[1:], [row[1:] for row in rows()]
    table[100:150] = table[:50]
    table[200] = [*table[0][:-1], "1"]
    report = look(table, header)
    assert report.duplicates.rows == 50
    assert report.duplicates.conflicting == 3  # the row, its copy and their opposite
    assert 5 < report.duplicates.across_splits < 40
    texts = [f.text for f in report.findings if f.subject == "duplicates"]
    assert texts[0] == "50 rows repeat an earlier one"
    assert len(texts) == 3


def test_a_split_by_time_shows_what_has_changed(look):
    table = rows()
    for i, row in enumerate(table):
        row[1] = f"{float(row[1]) + (i > 300) * 2:.4f}"
    report = look(table, split="time", split_column="id")
    assert ("warning", "drift", "x") in found(report)
    drift = {(each.column, each.between): each.drifted for each in report.drift}
    assert drift[("x", "train and test")]
    assert not drift[("colour", "train and test")]
    assert {column.kind for column in report.columns if column.name == "id"} == {"split"}


def test_a_mostly_missing_column_is_warned_of(look):
    table = [[*row[:4], str(i) if i % 4 == 0 else "", row[5]] for i, row in enumerate(rows())]
    assert ("warning", "missing", "name") in found(look(table))


def test_everything_that_a_build_would_refuse_is_an_error(look):
    table = rows()
    table[4][1], table[8][5] = "wide", ""
    report = look(table)
    assert not report.usable
    assert [f.text for f in report.findings if f.level == "error"] == [
        "a.csv, row 6, column 'x': expected a number, found 'wide'",
        "a.csv, row 10, column 'bad': expected one of 0, 1, found no value",
    ]
    assert report.columns  # and still it is described


def test_a_target_that_cannot_be_one_is_an_error(look):
    report = look([[*row[:-1], row[0]] for row in rows()], rule=finding_target)
    assert [f.text for f in report.findings] == [
        "a.csv, column 'bad': expected 2 to 20 different findings, found "
        "'0', '1', '2', '3', '4', … (400 in all)"
    ]


def test_a_split_that_cannot_be_is_an_error(look):
    report = look(rows(), split="grouped", split_column="colour")
    assert [f.text for f in report.findings if f.level == "error"] == [
        "split: 5 parts need as many groups, found 2"
    ]
