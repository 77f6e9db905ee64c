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
