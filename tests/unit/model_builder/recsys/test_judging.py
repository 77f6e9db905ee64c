from __future__ import annotations

import numpy as np
import pytest

from model_builder.evaluation.metrics import ndcg_at
from model_builder.progress import SilentProgress
from model_builder.recsys.data import leave_one_out
from model_builder.recsys.evaluation import SHOWN, Lists
from model_builder.recsys.judging import THIS, Judged, judge

ITEMS = 9
SPLITS = leave_one_out(
    [(np.arange(start, start + 5) % ITEMS) + 1 for start in range(30)], "log.csv"
)


def shown(split: str) -> Lists:
    """Everybody's next item first, but for the first user's, which is missed."""
    targets = SPLITS.asked[split].targets
    items = np.zeros((len(targets), SHOWN), np.int64)
    items[:, 0] = targets
    ranks = np.ones(len(targets), np.int64)
    ranks[0] = ITEMS
    return Lists(ranks, items)


@pytest.fixture(scope="module")
def judged() -> Judged:
    return judge(shown, SPLITS, ITEMS, 0, SilentProgress())


def test_all_models_are_measured_alike(judged):
    assert judged.baselines.keys() == judged.gains.keys() >= {"popularity", "item_knn"}
    for split in ("validation", "test"):
        for splits in judged.baselines.values():
            assert splits[split].keys() == judged.metrics[split].keys()
    assert "coverage@10" in judged.metrics["test"]
    assert "coverage@10" not in judged.metrics["validation"]


def test_a_gain_is_the_difference_of_the_same_users(judged):
    own = judged.metrics["test"]["ndcg@10"]
    assert own.value == pytest.approx((29 + ndcg_at(np.array([ITEMS]), 10)) / 30)
    for name, gain in judged.gains.items():
        theirs = judged.baselines[name]["test"]["ndcg@10"]
        assert gain.value == pytest.approx(own.value - theirs.value)
        assert gain.low <= gain.value <= gain.high


def test_every_part_of_the_users_compares_all_models(judged):
    for part in judged.segments:
        assert part.ndcg.keys() == {THIS, *judged.baselines}


def test_what_one_user_repeats_is_news_to_the_others():
    log = [np.array([1] * 6 + [2, 3])] + [np.array([2, 3, 2, 3])] * 7
    splits = leave_one_out(log, "log.csv")

    def first_item(split: str) -> Lists:
        rows = len(splits.asked[split])
        items = np.zeros((rows, SHOWN), np.int64)
        items[:, 0] = 1
        return Lists(np.ones(rows, np.int64), items)

    found = judge(first_item, splits, 3, 0, SilentProgress()).metrics["test"]
    assert found["novelty@10"].value == 3.0  # one of eight had it, six times
