from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_builder.errors import DataFault
from model_builder.recsys.data import (
    Interactions,
    Splits,
    data_source,
    leave_one_out,
    load_interactions,
)
from model_builder.task import ResolvedData


def load(folder: Path, text: str) -> Interactions:
    path = folder / "log.csv"
    path.write_text("user,item,timestamp\n" + text)
    return load_interactions(path)


def split(*sequences: list[int]) -> Splits:
    return leave_one_out([np.array(items) for items in sequences], "log.csv")


def test_items_are_numbered_from_one_in_the_order_of_their_texts(tmp_path):
    log = load(tmp_path, "a,b,1\na,10,2\na,9,3\n")
    assert log.item_ids == ("10", "9", "b")
    assert log.sequences[0].tolist() == [3, 1, 2]
    assert log.ids(log.sequences[0]) == ["b", "10", "9"]


def test_interactions_go_by_time_and_those_of_the_same_time_by_the_file(tmp_path):
    log = load(tmp_path, "a,late,9\nb,x,1\na,z,5\na,m,5\na,a,5\na,first,-1\n")
    assert [log.ids(items) for items in log.sequences] == [
        ["first", "z", "m", "a", "late"],
        ["x"],
    ]


def test_exact_duplicates_are_dropped_and_counted_and_repeats_kept(tmp_path):
    log = load(tmp_path, "a,x,1\na,x,1\na,x,2\na,x,1\n")
    assert (len(log), log.duplicates) == (2, 2)
    assert log.ids(log.sequences[0]) == ["x", "x"]


def test_the_last_item_tests_and_the_one_before_chooses():
    splits = split([1, 2, 3, 4, 5])
    assert splits.training[0].tolist() == [1, 2, 3]
    assert splits.validation.histories[0].tolist() == [1, 2, 3]
    assert splits.validation.targets.tolist() == [4]
    assert splits.test.histories[0].tolist() == [1, 2, 3, 4]
    assert splits.test.targets.tolist() == [5]


def test_users_with_few_interactions_are_learnt_from_and_never_asked_for():
    splits = split([1], [2, 3], [4, 5, 6, 7])
    assert [items.tolist() for items in splits.training] == [[1], [2, 3], [4, 5]]
    assert (len(splits.validation), len(splits.test), splits.unevaluated) == (1, 1, 2)
    assert splits.counts == {"train": 5, "validation": 1, "test": 1}


def test_a_history_is_no_longer_than_a_request_may_be():
    splits = split(list(range(1, 1203)))
    assert splits.test.histories[0].tolist() == list(range(202, 1202))
    assert len(splits.training[0]) == 1200


@pytest.mark.parametrize("sequences", [([1], [2, 3]), ([1, 2, 3],)])
def test_a_log_that_nothing_can_be_learnt_from_or_asked_of_is_refused(sequences):
    with pytest.raises(DataFault, match=r"log.csv: expected .*user with"):
        split(*sequences)


def test_the_manifest_says_how_it_was_split_and_measured(tmp_path):
    log = load(tmp_path, "a,x,1\na,x,1\na,y,2\na,z,3\na,x,4\nb,y,1\n")
    splits = leave_one_out(log.sequences, "log.csv")
    source = data_source(ResolvedData("log.csv", tmp_path, "5" * 64), log, splits)
    assert source.rows == 5 == sum(source.split.values())
    assert source.split["test"] == 1
    for fact in ("Leave one out", "whole catalogue", "1 users with fewer", "1 exact duplicates"):
        assert fact in source.protocol


def test_the_hash_is_of_what_lies_where():
    one, same = split([1, 2, 3, 4], [2, 3, 4]), split([1, 2, 3, 4], [2, 3, 4])
    assert one.sha256 == same.sha256
    for other in (split([1, 2, 4, 3], [2, 3, 4]), split([2, 3, 4], [1, 2, 3, 4])):
        assert other.sha256 != one.sha256
