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


def test_windows_hold_one_user_and_are_padded_on_the_left():
    for batch in WindowBatches(SEQUENCES, 5, 3, seed=0)(0):
        assert batch["history"].dtype == batch["labels"].dtype == torch.int64
        for row in batch["history"].tolist():
            items = [item for item in row if item]
            assert row == [0] * (5 - len(items)) + items
            assert items == list(range(items[0], items[0] + len(items)))


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
    batches = WindowBatches(SEQUENCES, length, batch_size, seed=0)
    given = [len(list(batches(epoch))) for epoch in range(20)]
    assert [batches.steps(epochs) for epochs in range(21)] == [0, *np.cumsum(given)]
    if (length, batch_size) == (5, 1):
        assert len(set(given)) > 1


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
