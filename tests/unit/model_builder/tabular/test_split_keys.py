from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from model_builder.config import read_config
from model_builder.errors import ConfigInvalid, DataFault
from model_builder.progress import SilentProgress
from model_builder.tabular.fitting import fit_table
from model_builder.tabular.loading import load_table
from model_builder.tabular.split_keys import SplitBy
from model_builder.tabular.targets import outcome_target
from model_builder.tabular.training import TabularConfig
from model_builder.task import ResolvedData


def load(path, split_by):
    return load_table(ResolvedData(path.name, path, ""), outcome_target, SilentProgress(), split_by)


def rows(keys):
    return "when,x,bad\n" + "".join(f"{key},{i / 3},{i % 2}\n" for i, key in enumerate(keys))


def test_groups_are_told_apart_and_are_no_feature(write):
    path = write("a.csv", rows(["ann", "bob", "ann", "eve"] * 10))
    table = load(path, SplitBy("grouped", "when"))
    assert [column.name for column in table.columns] == ["x"]
    assert table.split_keys[0] == table.split_keys[2]
    assert len(set(table.split_keys)) == 3


@pytest.mark.parametrize(
    "times",
    [
        ["2024", "1999.5", "2030"],
        ["2024-05-01", "2023-12-31", "2024-05-02"],
        ["2024-05-01T10:00:00", "2024-05-01T09:59:59.5", "2024-05-01 10:01"],
        ["2024-05-01T10:00:00Z", "2024-05-01T10:00:00+02:00", "2024-05-01T09:30:00-01:00"],
    ],
    ids=["numbers", "dates", "times", "zones"],
)
def test_times_are_in_their_order(write, times):
    table = load(write("a.csv", rows(times * 10)), SplitBy("time", "when"))
    assert np.argsort(table.split_keys[:3]).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "times",
    [
        pl.Series([date(2024, 1, 2), date(2024, 1, 1)] * 20),
        pl.Series([datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 1, 3, tzinfo=UTC)] * 20),
    ],
    ids=["dates", "times"],
)
def test_a_parquet_file_may_hold_times_to_split_by(tmp_path, times):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"when": times, "x": range(40), "bad": [0, 0, 1, 1] * 10}).write_parquet(path)
    table = load(path, SplitBy("time", "when"))
    assert table.split_keys[0] > table.split_keys[1]
    with pytest.raises(DataFault, match="column 'when': expected numbers or texts"):
        load(path, SplitBy())


def test_every_row_without_a_key_is_named_beside_the_other_faults(write):
    text = rows(["2024"] * 40).replace("2024,", ",", 1).replace("2024,1.0,", "soon,wide,", 1)
    with pytest.raises(DataFault) as caught:
        load(write("a.csv", text), SplitBy("time", "when"))
    assert [(fault.row, fault.column, fault.found) for fault in caught.value.faults] == [
        (2, "when", "no value"),
        (5, "x", "'wide'"),
        (5, "when", "'soon'"),
    ]


def test_a_column_that_is_not_there_and_the_label_are_refused(write):
    path = write("a.csv", rows(["a"] * 40))
    with pytest.raises(DataFault, match="a column 'who' to split by, found when, x, bad"):
        load(path, SplitBy("grouped", "who"))
    with pytest.raises(DataFault, match="not the one to predict, found 'bad'"):
        load(path, SplitBy("grouped", "bad"))


def test_a_split_by_a_column_needs_one_and_another_takes_none():
    with pytest.raises(ConfigInvalid, match="split 'grouped' needs a split_column"):
        read_config(TabularConfig, settings=["split=grouped"])
    with pytest.raises(ConfigInvalid, match="split 'stratified' takes no split_column"):
        read_config(TabularConfig, settings=["split_column=x"])


def test_a_network_is_trained_and_judged_on_other_groups(write):
    draws = np.random.default_rng(0)
    path = write("a.csv", rows([f"g{k}" for k in draws.integers(0, 30, 200)]))
    config = TabularConfig(
        split="grouped", split_column="when", epochs=1, width=4, folds=3, repeats=1
    )
    table = load(path, config.split_by)
    fitted = fit_table(table, config, logits=1, progress=SilentProgress())
    test = table.split_keys[fitted.splits.test]
    assert not set(test) & set(table.split_keys[fitted.splits.development])
    source = fitted.data_source(ResolvedData("a.csv", path, "f00d"), config)
    assert source.split_sha256 == fitted.splits.sha256
    assert "whole groups of column 'when'" in source.protocol
