from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_builder.errors import DataFault
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import (
    Interactions,
    Splits,
    data_source,
    leave_one_out,
    load_interactions,
    split_interactions,
)
from model_builder.task import ResolvedData


def load(folder: Path, text: str, header: str = "user,item,timestamp", **settings) -> Interactions:
    path = folder / "log.csv"
    path.write_text(f"{header}\n{text}")
    return load_interactions(path, RecsysConfig(**settings), header.split(",")[4:])


def ids(log: Interactions) -> list[list[str]]:
    return [log.ids(items) for items in log.sequences]


def counted(log: Interactions) -> dict[str, int]:
    return {name: count for name, count in log.counts.happened().items() if name != "rows"}


def split(*sequences: list[int]) -> Splits:
    return leave_one_out([np.array(items) for items in sequences], "log.csv")


def test_items_are_numbered_from_one_in_the_order_of_their_texts(tmp_path):
    log = load(tmp_path, "a,b,1\na,10,2\na,9,3\n")
    assert log.item_ids == ("10", "9", "b")
    assert log.sequences[0].tolist() == [3, 1, 2]
    assert log.ids(log.sequences[0]) == ["b", "10", "9"]


def test_interactions_go_by_time_and_those_of_the_same_time_by_the_file(tmp_path):
    log = load(tmp_path, "a,late,9\nb,x,1\na,z,5\na,m,5\na,a,5\na,first,-1\n")
    assert ids(log) == [["first", "z", "m", "a", "late"], ["x"]]
    assert log.times.tolist() == [-1, 5, 5, 5, 9, 1]
    assert counted(log) == {"out_of_order": 2, "single_item_users": 1}


def test_a_log_in_order_has_nothing_out_of_order(tmp_path):
    log = load(tmp_path, "a,x,5\nb,x,1\na,y,5\nb,y,2\na,z,6\nb,z,2\n")
    assert ids(log) == [["x", "y", "z"], ["x", "y", "z"]]
    assert counted(log) == {}


def test_exact_duplicates_are_dropped_and_counted_and_repeats_kept(tmp_path):
    log = load(tmp_path, "a,x,1\na,x,1\na,x,2\na,y,1\na,x,1\nb,x,1\nb,y,2\n")
    assert (len(log), log.duplicates) == (5, 2)
    assert ids(log) == [["x", "y", "x"], ["x", "y"]]
    assert counted(log) == {"duplicates": 2, "repeats": 1, "out_of_order": 1}


def test_a_row_that_differs_in_its_rating_only_is_a_duplicate(tmp_path):
    log = load(tmp_path, "a,x,1,5\na,x,1,4\na,y,2,3\n", "user,item,timestamp,rating")
    assert ids(log) == [["x", "y"]]
    assert log.duplicates == 1


def test_negative_and_endless_ratings_are_left_out_and_missing_ones_kept(tmp_path):
    text = "a,x,1,-2\na,y,2,nan\na,z,3,inf\na,v,4,\na,w,5,0\n"
    log = load(tmp_path, text, "user,item,timestamp,rating")
    assert ids(log) == [["v", "w"]]
    assert log.item_ids == ("v", "w")
    assert counted(log) == {"ratings_negative": 1, "ratings_not_finite": 2, "ratings_missing": 1}


def test_users_with_a_single_interaction_stay_and_are_counted(tmp_path):
    log = load(tmp_path, "a,x,1\nb,y,1\nb,x,2\n")
    assert ids(log) == [["x"], ["y", "x"]]
    assert counted(log) == {"single_item_users": 1}


def test_rows_with_missing_fields_are_left_out_as_far_as_allowed(tmp_path):
    text = "a,x,1\n,y,2\na,,3\na,z\na,y,5\n"
    assert ids(log := load(tmp_path, text, max_faulty_share=0.7)) == [["x", "y"]]
    assert counted(log) == {"faulty": 3}
    with pytest.raises(DataFault, match="row 3, column 'user'"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "times",
    ["1000000000 1000000002", "1000000000000 1000000002000", "1000000000.0 1000000002.0",
     "2001-09-09T01:46:40Z 2001-09-09T03:46:42+02:00", "2001-09-09 2001-09-09T00:00:02"],
    ids=["seconds", "milliseconds", "fractions", "iso", "iso of two precisions"],
)  # fmt: skip
def test_times_become_seconds_whatever_they_count(times, tmp_path):
    first, second = times.split()
    log = load(tmp_path, f"a,y,{second}\na,x,{first}\n")
    assert ids(log) == [["x", "y"]]
    assert log.times[1] - log.times[0] == pytest.approx(2.0)


def test_users_and_items_below_the_core_are_left_out_and_counted(tmp_path):
    text = "a,x,1\na,y,2\nb,x,1\nb,y,2\nb,rare,3\nc,x,1\nc,x,2\n"
    log = load(tmp_path, text, min_user_items=2, min_item_users=2)
    assert log.item_ids == ("x", "y")
    assert ids(log) == [["x", "y"], ["x", "y"]]
    assert counted(log) == {"below_core": 3, "below_core_users": 1, "below_core_items": 1}
    with pytest.raises(DataFault, match="expected users with 3 items of 4 users each"):
        load(tmp_path, text, min_user_items=3, min_item_users=4)


@pytest.mark.parametrize("odd", ["inf", "-inf", "nan", "1e300"])
def test_a_context_that_is_not_finite_is_missing_and_counted(odd, tmp_path):
    header = "user,item,timestamp,rating,price"
    text = f"ann,a,1,1,2.5\nann,b,2,1,{odd}\nann,c,3,1,\nann,d,4,1,{odd}\n"
    log = load(tmp_path, text, header)
    assert log.columns["price"].to_list() == [2.5, None, None, None]
    assert log.counts.context_not_finite == 2
    said = "2 cells of the context's columns are not finite and count as missing"
    assert log.counts.said()["context_not_finite"] == said


def test_extra_columns_lie_beside_their_interactions(tmp_path):
    text = "b,z,9,5,1.5,south\na,y,2,5,,north\na,x,1,5,2.5,\na,x,1,5,7,\n"
    log = load(tmp_path, text, "user,item,timestamp,rating,price,shop")
    assert ids(log) == [["x", "y"], ["z"]]
    assert log.columns["price"].to_list() == [2.5, None, 1.5]
    assert log.columns["shop"].to_list() == [None, "north", "south"]


def test_a_log_of_one_user_a_line_has_no_times_and_cannot_be_split_by_time(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("b 2 1\na 1 2 3 1\n")
    log = load_interactions(path)
    assert ids(log) == [["1", "2", "3", "1"], ["2", "1"]]
    assert log.times is None
    with pytest.raises(DataFault, match="expected times, to split by"):
        split_interactions(log, RecsysConfig(split="time"), "log.txt")


def test_a_split_by_time_says_so_in_the_manifest(tmp_path):
    text = "".join(f"u{n % 3},i{n % 7},{1_000_000_000 + n}\n" for n in range(40))
    config = RecsysConfig(split="time", test_share=0.25)
    log = load(tmp_path, text)
    splits = split_interactions(log, config, "log.csv")
    source = data_source(ResolvedData("log.csv", tmp_path, "5" * 64), log, splits)
    for fact in (
        "learnt from is what came before 2001-09-09T01:47:00+00:00",
        "until 2001-09-09T01:47:10+00:00",
        "Nobody's later interactions are learnt from",
        "14 further interactions",
    ):
        assert fact in source.protocol
    assert source.split == {"train": 20, "validation": 3, "test": 3, "unused": 14}


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
    assert source.counts == {"rows": 6, "duplicates": 1, "repeats": 1, "single_item_users": 1}
    assert source.findings == (
        "1 rows repeat another one exactly (user, item, time) and are dropped",
        "1 rows repeat an item that the user had at another time and are kept",
        "1 users have a single interaction: it counts for popularity, nothing else",
    )


def test_the_hash_is_of_what_lies_where():
    one, same = split([1, 2, 3, 4], [2, 3, 4]), split([1, 2, 3, 4], [2, 3, 4])
    assert one.sha256 == same.sha256
    for other in (split([1, 2, 4, 3], [2, 3, 4]), split([2, 3, 4], [1, 2, 3, 4])):
        assert other.sha256 != one.sha256


def test_the_protocol_says_who_was_drawn(write_log):
    rows = [f"u{user},i{item},{item}" for user in range(9) for item in range(5)]
    path = write_log("\n".join(["user,item,timestamp", *rows]) + "\n")
    config = RecsysConfig(asked_users=4)
    interactions = load_interactions(path, config)
    splits = split_interactions(interactions, config, path.name)
    data = ResolvedData("log.csv", path, "")
    said = data_source(data, interactions, splits).protocol
    assert "4 of 9 for the validation and 4 of 9 for the test" in said
    whole = split_interactions(interactions, RecsysConfig(), path.name)
    assert "drawn" not in data_source(data, interactions, whole).protocol
