from __future__ import annotations

import numpy as np
import pytest

from model_builder.recsys import evaluation
from model_builder.recsys.data import Questions, leave_one_out
from model_builder.recsys.evaluation import (
    item_counts,
    measure,
    network_ranks,
    popularity_ranks,
    rank_of,
)

SCORES = np.array([99.0, 0.1, 0.5, 0.4, 0.9, 0.4])


@pytest.mark.parametrize(
    ("history", "target", "rank"),
    [
        ([], 4, 1),
        ([], 2, 2),
        ([4], 2, 1),
        ([4, 2], 1, 3),
        ([5], 3, 3),
        ([], 3, 4),
        ([3], 3, 5),
    ],
    ids=["best", "second", "seen is out", "last", "no tie left", "tie", "target was had before"],
)
def test_the_rank_is_among_what_may_be_recommended(history, target, rank):
    assert rank_of(SCORES, np.array(history, np.int64), target) == rank


def test_a_model_that_cannot_tell_items_apart_gains_nothing():
    ranks = [rank_of(np.zeros(102), np.array([], np.int64), target) for target in range(1, 102)]
    assert set(ranks) == {51}


def test_popularity_counts_only_what_is_learnt_from():
    splits = leave_one_out([np.array([1, 1, 2, 3]), np.array([1, 4])], "log.csv")
    assert item_counts(splits, 5).tolist() == [0, 3, 0, 0, 1, 0]
    questions = Questions((np.array([1]), np.array([2])), np.array([4, 1]))
    assert popularity_ranks(item_counts(splits, 5), questions).tolist() == [1, 1]


def test_the_network_ranks_by_its_logits_whatever_the_part(network, monkeypatch):
    histories = tuple(np.array([1, 2, item]) for item in range(3, 9))
    questions = Questions(histories, np.array([12] * 6))
    ranks = network_ranks(network, questions)
    monkeypatch.setattr(evaluation, "_ROWS", 4)
    assert network_ranks(network, questions).tolist() == ranks.tolist()
    assert len(set(ranks.tolist())) > 1


def test_measures_are_those_of_the_literature():
    found = measure(np.array([1, 2, 11, 30]), seed=0)
    values = {name: metric.value for name, metric in found.items()}
    assert values["hr@5"] == values["hr@10"] == 0.5
    assert values["hr@20"] == 0.75
    assert values["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3)) / 4)
    assert values["ndcg@20"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(12)) / 4)
    assert values["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 11 + 1 / 30) / 4)
    assert all(metric.low <= metric.value <= metric.high for metric in found.values())
    assert found["mrr"].low < found["mrr"].high
