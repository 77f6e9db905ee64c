from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from model_builder.recsys.data import leave_one_out
from model_builder.recsys.windows import WindowBatches

SEQUENCES = [np.arange(1, 24), np.array([30]), np.arange(40, 44), np.array([50, 51])]


def pairs(batches: WindowBatches, epoch: int) -> Counter[tuple[int, int]]:
    """Every (item, next item) that is asked for."""
    found: Counter[tuple[int, int]] = Counter()
    for batch in batches(epoch):
        asked = batch["labels"] > 0
        found.update(zip(batch["history"][asked].tolist(), batch["labels"][asked].tolist(),
                         strict=True))  # fmt: skip
    return found


@pytest.mark.parametrize("epoch", range(5))
def test_every_item_but_a_users_first_is_asked_for_exactly_once(epoch):
    batches = WindowBatches(SEQUENCES, 5, 3, seed=0)
    wanted = {(int(a), int(b)) for s in SEQUENCES for a, b in pairwise(s)}
    assert pairs(batches, epoch) == Counter(dict.fromkeys(wanted, 1))


def test_windows_hold_one_user_and_are_padded_on_the_right_to_the_longest():
    for batch in WindowBatches(SEQUENCES, 5, 3, seed=0)(0):
        assert batch["history"].dtype == batch["labels"].dtype == torch.int64
        longest = 0
        for row, labels in zip(batch["history"].tolist(), batch["labels"].tolist(), strict=True):
            items = [item for item in row if item]
            assert row == items + [0] * (len(row) - len(items))
            assert items == list(range(items[0], items[0] + len(items)))
            assert [label for label in labels if label] == [item + 1 for item in items]
            longest = max(longest, len(items))
        assert longest == batch["history"].shape[1] <= 5


def test_a_user_who_fits_into_a_window_is_not_cut():
    for epoch in range(5):
        rows = [row for batch in WindowBatches(SEQUENCES, 5, 3, seed=0)(epoch)
                for row in batch["history"].tolist()]  # fmt: skip
        whole = [[item for item in row if item] for row in rows if row[0] >= 40]
        assert sorted(whole) == [[40, 41, 42], [50]]


def test_batches_hold_about_as_many_items_each_and_little_padding():
    draws = np.random.default_rng(0)
    lengths = np.append(draws.integers(2, 60, 300), draws.integers(60, 900, 30))
    batches = WindowBatches([np.arange(1, n + 1) for n in lengths], 50, 8, seed=0)(0)
    asked = np.array([int((batch["labels"] > 0).sum()) for batch in batches])
    assert asked.sum() == (lengths - 1).sum()
    assert asked.max() < 1.2 * 8 * 50
    assert asked.min() > 0.7 * 8 * 50
    assert sum(batch["labels"].numel() for batch in batches) < 1.12 * asked.sum()


def test_cuts_change_from_epoch_to_epoch_and_repeat_with_the_seed():
    def windows(seed: int, epoch: int) -> list[list[int]]:
        return [row for b in WindowBatches(SEQUENCES, 5, 3, seed)(epoch)
                for row in b["labels"].tolist()]  # fmt: skip

    assert windows(0, 0) == windows(0, 0)
    assert windows(0, 0) != windows(0, 1)
    assert windows(0, 0) != windows(1, 0)


@pytest.mark.parametrize("length", [2, 5, 30])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_steps_are_those_of_all_epochs_though_these_differ(length, batch_size):
    batches = WindowBatches([np.arange(1, n) for n in range(2, 60)], length, batch_size, seed=0)
    given = [len(list(batches(epoch))) for epoch in range(20)]
    assert [batches.steps(epochs) for epochs in range(21)] == [0, *np.cumsum(given)]
    if length < 30:
        assert len(set(given)) > 1, "the cuts differ"


def test_users_with_a_single_item_teach_nothing():
    batches = WindowBatches([np.array([4]), np.array([7])], 5, 3, seed=0)
    assert batches.steps(3) == 0
    assert list(batches(0)) == []


def test_what_is_asked_for_later_is_never_learnt():
    splits = leave_one_out([np.arange(1, 24), np.arange(40, 44), np.array([70, 71])], "log.csv")
    batches = WindowBatches(splits.training, 5, 2, seed=0)
    seen = {int(item) for epoch in range(5) for batch in batches(epoch)
            for part in batch.values() for item in part.flatten()}  # fmt: skip
    assert seen & {22, 23, 42, 43} == set()
    assert {1, 21, 40, 41, 70, 71} <= seen
