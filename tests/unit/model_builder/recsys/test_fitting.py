from __future__ import annotations

import numpy as np
import pytest
import torch

from model_builder.evaluation.metrics import hit_rate_at
from model_builder.progress import SilentProgress
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import leave_one_out
from model_builder.recsys.evaluation import (
    item_counts,
    network_ranks,
    popularity_scores,
    ranks_by,
)
from model_builder.recsys.fitting import fit_network, labels_in
from model_builder.training.seeding import seed_everything

CATALOGUE = 12
SMALL = {
    "width": 16,
    "layers": 1,
    "heads": 1,
    "dropout": 0.0,
    "batch_size": 16,
    "history_length": 6,
    "patience": 30,
}


def cycles(users: int = 40) -> list[np.ndarray]:
    """After item ``i`` comes ``i + 1``; each user starts elsewhere."""
    draws = np.random.default_rng(0)
    return [
        (draws.integers(CATALOGUE) + np.arange(draws.integers(5, 12))) % CATALOGUE + 1
        for _ in range(users)
    ]


def trained(**changes: object) -> tuple[torch.nn.Module, float, float]:
    """The network, and the share of users whose next item it, and popularity, names first."""
    config = RecsysConfig.model_validate(SMALL | changes)
    seed_everything(config.seed)
    splits = leave_one_out(cycles(), "log.csv")
    network = fit_network(splits, CATALOGUE, config, SilentProgress()).network
    popular = popularity_scores(item_counts(splits, CATALOGUE))
    popular = ranks_by(popular, splits.test, CATALOGUE + 1)
    hits = hit_rate_at(network_ranks(network, splits.test), 1)
    return network, hits, hit_rate_at(popular, 1)


@pytest.mark.parametrize(
    "changes",
    [{}, {"negatives": 6}, {"neighbours": 0}, {"layers": 2, "heads": 2}],
    ids=["whole catalogue", "drawn items", "vectors at random", "deeper"],
)
def test_a_planted_order_is_learnt(changes):
    _, hits, popular = trained(epochs=15, learning_rate=0.02, **changes)
    assert hits > 0.9
    assert popular < 0.5


def test_the_same_seed_gives_the_same_network():
    one, other = (trained(epochs=2, seed=3)[0].state_dict() for _ in range(2))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=0)


def test_the_bar_counts_exactly_the_batches_that_come(progress):
    """Each epoch cuts the histories anew, into a few more or fewer windows."""
    config = RecsysConfig.model_validate({**SMALL, "epochs": 3, "batch_size": 4, "width": 4})
    seed_everything(config.seed)
    fit_network(leave_one_out(cycles(), "log.csv"), CATALOGUE, config, progress)
    done, total = progress.stages["train"]
    assert done == total


def test_heads_must_share_the_width():
    with pytest.raises(ValueError, match="width 12 must be a multiple of twice heads 4"):
        RecsysConfig(width=12, heads=4)


def test_the_settings_of_training_arrive():
    _, hits, _ = trained(epochs=15, learning_rate=0.02, training={"optimizer": "muon"})
    assert hits > 0.9


def test_a_batch_counts_by_the_items_that_it_asks_for():
    assert labels_in({"labels": torch.tensor([[0, 4, 2], [0, 0, 7]])}) == 3
