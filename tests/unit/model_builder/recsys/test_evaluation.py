from __future__ import annotations

import numpy as np
import pytest
import torch

from model_builder.recsys import evaluation
from model_builder.recsys.data import Questions, leave_one_out
from model_builder.recsys.evaluation import (
    SHOWN,
    item_counts,
    lists_by,
    measure,
    network_ranks,
    next_item_scores,
    popularity_scores,
    ranks_by,
)
from model_builder.recsys.reference import next_item_logits

SCORES = np.array([99.0, 0.1, 0.5, 0.4, 0.9, 0.4])
NOTHING = np.empty(0, np.int64)


def rank(scores: np.ndarray, history: list[int], target: int) -> int:
    questions = Questions((np.array(history, np.int64),), np.array([target]))
    (found,) = ranks_by(lambda _: scores[None].copy(), questions, len(scores))
    return int(found)


@pytest.mark.parametrize(
    ("history", "target", "place"),
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
def test_the_rank_is_among_what_may_be_recommended(history, target, place):
    assert rank(SCORES, history, target) == place


@pytest.mark.parametrize(("target", "place"), [(2, 5), (4, 1), (1, 4)])
def test_what_has_no_score_comes_last(target, place):
    scores = SCORES.copy()
    scores[2] = np.nan
    assert rank(scores, [], target) == place
    questions = Questions((NOTHING,), np.array([target]))
    listed = lists_by(lambda _: scores[None].copy(), questions, 6).items[0]
    assert 2 not in listed


def test_a_model_that_cannot_tell_items_apart_gains_nothing():
    assert {rank(np.zeros(102), [], target) for target in range(1, 102)} == {51}


def test_lists_show_the_best_that_the_user_had_not():
    questions = Questions((np.array([4]), NOTHING, np.arange(1, 6)), np.array([2, 3, 1]))
    lists = lists_by(lambda rows: np.tile(SCORES, (len(rows), 1)), questions, 6)
    assert lists.items.shape == (3, SHOWN)
    assert lists.items[0, :5].tolist() == [2, *sorted(lists.items[0, 1:3].tolist()), 1, 0]
    assert set(lists.items[0, 1:3].tolist()) == {3, 5}
    assert lists.items[1, 0] == 4
    assert not lists.items[2].any()
    assert lists.ranks.tolist() == [1, 4, 5]


def test_popularity_counts_only_what_is_learnt_from():
    splits = leave_one_out([np.array([1, 1, 2, 3]), np.array([1, 4])], "log.csv")
    assert item_counts(splits, 5).tolist() == [0, 3, 0, 0, 1, 0]
    questions = Questions((np.array([1]), np.array([2])), np.array([4, 1]))
    scores = popularity_scores(item_counts(splits, 5))
    assert ranks_by(scores, questions, 6).tolist() == [1, 1]


@pytest.mark.parametrize("places", [1, 7, 10**6])
def test_many_short_histories_are_scored_as_each_alone(network, monkeypatch, places):
    monkeypatch.setattr(evaluation, "_PLACES", places)
    draws = np.random.default_rng(0)
    histories = [draws.integers(1, 13, count) for count in (3, 0, 9, 1, 6, 3)]
    found = next_item_scores(network, histories)
    np.testing.assert_allclose(found, next_item_logits(network, histories), rtol=0, atol=1e-5)


def test_the_network_ranks_by_its_logits_whatever_the_part(network, monkeypatch):
    histories = tuple(np.array([1, 2, item]) for item in range(3, 9))
    questions = Questions(histories, np.array([12] * 6))
    ranks = network_ranks(network, questions)
    monkeypatch.setattr(evaluation, "_CELLS", 4 * 13)
    assert network_ranks(network, questions).tolist() == ranks.tolist()
    assert len(set(ranks.tolist())) > 1


def test_measures_are_those_of_the_literature():
    found = measure(np.array([1, 2, 11, 30]), seed=0)
    values = {name: metric.value for name, metric in found.items()}
    assert values["hr@5"] == values["hr@10"] == 0.5
    assert values["hr@20"] == 0.75
    assert values["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3)) / 4)
    assert values["ndcg@20"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(12)) / 4)
    assert values["mrr@10"] == pytest.approx((1 + 1 / 2) / 4)
    assert values["mrr@20"] == pytest.approx((1 + 1 / 2 + 1 / 11) / 4)
    assert values["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 11 + 1 / 30) / 4)
    assert all(metric.low <= metric.value <= metric.high for metric in found.values())
    assert found["mrr"].low < found["mrr"].high


def test_ranking_goes_through_the_call_that_devices_and_shards_are_wrapped_around(network):
    asked = []
    hook = network.register_forward_pre_hook(lambda _, args: asked.append(args[0].shape))
    network_ranks(network, Questions((np.array([1, 2]),), np.array([3])))
    hook.remove()
    assert asked == [(1, 2)]


def test_half_precision_in_training_leaves_the_ranks_whole(network):
    histories = [np.array([1, 2, item]) for item in range(3, 9)]
    whole = next_item_scores(network, histories)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(next_item_scores(network, histories), whole)
