from __future__ import annotations

import numpy as np
import pytest

from model_builder.errors import ConfigInvalid
from model_builder.tabular.splits import make_splits, protocol

TARGET = np.array([0, 0, 1] * 100)
OPTIONS = {"test_share": 0.2, "folds": 5, "repeats": 2, "members": 3, "seed": 4}


@pytest.mark.parametrize("cross_validate_below", [0, 1000])
def test_splits_are_disjoint_and_hold_every_row(cross_validate_below):
    splits = make_splits(TARGET, cross_validate_below=cross_validate_below, **OPTIONS)

    everything = np.concatenate([splits.development, splits.test])
    assert np.array_equal(np.sort(everything), np.arange(300))
    assert sum(splits.counts.values()) == 300


@pytest.mark.parametrize("cross_validate_below", [0, 1000])
def test_every_part_has_the_classes_of_the_whole(cross_validate_below):
    splits = make_splits(TARGET, cross_validate_below=cross_validate_below, **OPTIONS)
    assert TARGET[splits.test].mean() == pytest.approx(1 / 3)
    for held_out in splits.held_out.T:
        assert TARGET[splits.development[held_out]].mean() == pytest.approx(1 / 3, abs=0.02)


def test_a_small_table_holds_each_row_out_once_in_every_repeat():
    splits = make_splits(TARGET, cross_validate_below=1000, **OPTIONS)
    assert splits.judged_split == "cv"
    assert splits.held_out.shape == (240, 10)
    assert (splits.held_out[:, :5].sum(axis=1) == 1).all()
    assert (splits.held_out[:, 5:].sum(axis=1) == 1).all()
    assert (splits.held_out[:, :5] != splits.held_out[:, 5:]).any()
    assert splits.counts == {"train": 240, "test": 60}


def test_a_large_table_holds_the_same_rows_out_from_all():
    splits = make_splits(TARGET, cross_validate_below=0, **OPTIONS)
    assert splits.judged_split == "validation"
    assert splits.held_out.shape == (240, 3)
    assert (splits.held_out == splits.held_out[:, :1]).all()
    assert splits.counts == {"train": 180, "validation": 60, "test": 60}
    assert len(splits.training) == 180


def test_the_seed_decides():
    one, same, other = (
        make_splits(TARGET, cross_validate_below=1000, **{**OPTIONS, "seed": seed}).test.tolist()
        for seed in (4, 4, 5)
    )
    assert one == same
    assert one != other


def test_the_protocol_says_how_it_was_judged():
    small = make_splits(TARGET, cross_validate_below=1000, **OPTIONS)
    large = make_splits(TARGET, cross_validate_below=0, **OPTIONS)
    assert "5-fold cross-validation of the train rows, 2 times" in protocol(small, 5, 2, 4)
    assert "seed 4" in protocol(large, 5, 2, 4)
    assert "validation rows chose the epoch" in protocol(large, 5, 2, 4)


def test_more_folds_than_rows_of_a_class_are_refused():
    target = np.array([0] * 90 + [1] * 10)
    with pytest.raises(ConfigInvalid, match=r"folds: at most 8, .* got 9"):
        make_splits(target, cross_validate_below=1000, **{**OPTIONS, "folds": 9})


def test_a_test_without_a_row_of_some_class_is_refused():
    target = np.array([0] * 90 + [1] * 10)
    with pytest.raises(ConfigInvalid, match=r"test_share: .* at least 1/10 .* got 0.05"):
        make_splits(target, cross_validate_below=1000, **{**OPTIONS, "test_share": 0.05})


def grouped(seed=4, cross_validate_below=1000, groups=60):
    keys = np.random.default_rng(1).integers(0, groups, 300).astype(np.float64)
    options = {**OPTIONS, "seed": seed, "cross_validate_below": cross_validate_below}
    return keys, make_splits(TARGET, how="grouped", keys=keys, **options)


@pytest.mark.parametrize("cross_validate_below", [0, 1000])
def test_a_group_lies_in_one_part_only(cross_validate_below):
    keys, splits = grouped(cross_validate_below=cross_validate_below)
    assert not set(keys[splits.test]) & set(keys[splits.development])
    for held_out in splits.held_out.T:
        judged, learnt = splits.development[held_out], splits.development[~held_out]
        assert len(judged)
        assert not set(keys[judged]) & set(keys[learnt])
    assert len(splits.test) + len(splits.development) == 300
    assert 30 <= len(splits.test) <= 90


def test_each_row_of_a_group_is_held_out_once_in_every_repeat():
    _, splits = grouped()
    assert (splits.held_out[:, :5].sum(axis=1) == 1).all()
    assert (splits.held_out[:, 5:].sum(axis=1) == 1).all()


def test_fewer_groups_than_parts_are_refused():
    with pytest.raises(ConfigInvalid, match="5 parts need as many groups, found 4"):
        grouped(groups=4)


def by_time(times, target=TARGET, **options):
    return make_splits(
        target, how="time", keys=times, cross_validate_below=1000, **{**OPTIONS, **options}
    )


def test_what_judges_is_newer_than_all_that_is_learnt_from():
    times = np.random.default_rng(2).permutation(300).astype(np.float64)
    splits = by_time(times)
    validation = splits.development[splits.judging]
    assert times[splits.training].max() < times[validation].min()
    assert times[validation].max() < times[splits.test].min()
    assert splits.counts == {"train": 180, "validation": 60, "test": 60}
    assert (splits.held_out == splits.held_out[:, :1]).all()


def test_rows_of_the_same_time_stay_together():
    times = np.repeat(np.arange(10.0), 30)
    splits = by_time(times, test_share=0.15)
    assert set(times[splits.test]) == {8.0, 9.0}
    assert not set(times[splits.training]) & set(times[splits.development[splits.judging]])


def test_times_that_are_all_the_same_are_refused():
    with pytest.raises(ConfigInvalid, match="newest 20% of the rows have the same time as all"):
        by_time(np.zeros(300))


def test_a_part_without_a_class_is_refused_and_every_such_part_is_named():
    times = np.arange(300.0)
    with pytest.raises(ConfigInvalid) as caught:
        by_time(times, target=(times < 150).astype(np.int64))
    assert caught.value.faults == (
        "split: the test would hold no row of class 1 (0 is the first)",
        "split: the validation would hold no row of class 1 (0 is the first)",
    )


def test_the_hash_is_of_the_assignment():
    _, one = grouped()
    _, same = grouped()
    _, other = grouped(seed=5)
    large = make_splits(TARGET, cross_validate_below=0, **OPTIONS)
    small = make_splits(TARGET, cross_validate_below=1000, **OPTIONS)
    assert one.sha256 == same.sha256
    assert len({one.sha256, other.sha256, large.sha256, small.sha256}) == 4


def test_the_protocol_says_what_a_split_goes_by():
    _, splits = grouped()
    said = protocol(splits, 5, 2, 4, "grouped", "patient")
    assert said.startswith("Splits of whole groups of column 'patient', drawn with seed 4; ")
    said = protocol(by_time(np.arange(300.0)), 5, 2, 4, "time", "year")
    assert said.startswith("Split by the time in column 'year': the newest rows test, those before")
