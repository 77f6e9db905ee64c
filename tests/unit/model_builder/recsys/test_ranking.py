"""The ranker in torch, its shortlists, and what both stages together are worth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model_builder.evaluation.metrics import ndcg_at
from model_builder.progress import SilentProgress
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import Questions, Sequences
from model_builder.recsys.evaluation import network_ranks
from model_builder.recsys.item_table import FORBIDDEN
from model_builder.recsys.rank_fitting import fit_ranker, training_questions
from model_builder.recsys.ranking import Ranker
from model_builder.recsys.shortlists import (
    FirstStage,
    Shortlists,
    pipeline_lists,
    pipeline_ranks,
    shortlists,
)

ITEMS, SHORTLIST = 30, 10


@pytest.fixture(scope="module")
def network(make_network):
    return make_network(items=ITEMS)


@pytest.fixture(scope="module")
def first(network) -> FirstStage:
    return FirstStage(network, SHORTLIST)


@pytest.fixture(scope="module")
def questions() -> Questions:
    draws = np.random.default_rng(0)
    histories = [draws.integers(1, ITEMS + 1, draws.integers(1, 9)) for _ in range(50)]
    return Questions(Sequences.of(histories), draws.integers(1, ITEMS + 1, 50))


@pytest.fixture(scope="module")
def lists(first, questions) -> Shortlists:
    return shortlists(first, questions)


@pytest.mark.parametrize("layers", [1, 3])
def test_the_query_is_what_the_network_makes_of_a_history(layers, make_network):
    network = make_network(items=ITEMS, layers=layers)
    history = torch.tensor([[0, 0, 0, 4, 5, 6], [1, 2, 3, 4, 5, 6], [0] * 6])
    query = FirstStage(network, SHORTLIST).query(history)
    torch.testing.assert_close(query[:2, :-2], network.states(history)[:2, -1])
    assert query[:2, -2:].tolist() == [[1, 0], [1, 0]]
    assert query[2].tolist() == [0] * (query.shape[1] - 2) + [0, 1]


def test_without_training_both_stages_rank_as_the_network_does(first, lists, questions, network):
    ranker = Ranker(first.table, first.history_length, first.count)
    expected = network_ranks(network, questions)
    assert lists.first_rank.tolist() == expected.tolist()
    assert pipeline_ranks(ranker.logits, lists).tolist() == expected.tolist()


def test_a_shortlist_holds_the_best_that_the_history_has_not(lists, questions):
    for row, history in enumerate(questions.histories):
        listed = lists.items[row].tolist()
        assert len(set(listed)) == SHORTLIST
        assert not set(listed) & set(history.tolist())
        place = int(lists.place[row])
        assert place == (listed.index(t) if (t := questions.targets[row]) in listed else -1)
    assert lists.found == pytest.approx(np.mean(lists.place.numpy() >= 0))


def test_a_target_that_is_not_on_the_shortlist_stays_where_it_was(first, lists, learned_ranker):
    ranker = learned_ranker(first)
    ranks, away = pipeline_ranks(ranker.logits, lists), lists.place.numpy() < 0
    assert ranks[away].tolist() == lists.first_rank[away].tolist()
    assert away.any()
    assert (ranks[away] > SHORTLIST).all()
    assert ranks[~away].tolist() != lists.first_rank[~away].tolist()
    assert (ranks[~away] <= SHORTLIST).all()


def test_what_stands_first_is_what_the_ranks_say(first, lists, learned_ranker, questions):
    shown = pipeline_lists(learned_ranker(first).logits, lists)
    for row, target in enumerate(questions.targets):
        listed = shown.items[row, :SHORTLIST].tolist()
        assert (target in listed) == (lists.place[row] >= 0)
        assert target not in listed or shown.ranks[row] == listed.index(target) + 1


def test_what_has_no_score_is_never_the_best(lists, make_network):
    nothing = pipeline_ranks(lambda *given: torch.full_like(given[3], torch.nan), lists)
    on = lists.place.numpy() >= 0
    assert (nothing[on] >= SHORTLIST - 1).all()
    broken = make_network(items=ITEMS)
    with torch.no_grad():
        broken.items.weight[7] = torch.nan
    known = Questions(Sequences.of([np.array([1]), np.array([2])]), np.array([7, 3]))
    unscored, scored = shortlists(FirstStage(broken, SHORTLIST), known).first_rank
    assert unscored == ITEMS > scored


def test_the_end_of_a_full_shortlist_is_not_changed(first, lists, learned_ranker):
    """So whether rounding lets an item on, or the next one, changes nothing."""
    logits = learned_ranker(first).logits(*lists.given(slice(None)))
    torch.testing.assert_close(logits[:, -1], lists.scores[:, -1])
    assert (logits[:, 0] != lists.scores[:, 0]).all()


def test_places_without_an_item_come_last(first, lists, learned_ranker):
    history, query, items, scores = lists.given(slice(0, 1))
    items, scores = items.clone(), scores.clone()
    items[0, 3:], scores[0, 3:] = 0, FORBIDDEN
    found, probabilities, because = learned_ranker(first)(history, query, items, scores)
    assert sorted(found[0, :3].tolist()) == sorted(items[0, :3].tolist())
    assert not found[0, 3:].any()
    assert probabilities[0, :3].sum().item() == pytest.approx(1)
    assert not probabilities[0, 3:].any()
    assert (because[0, 3:] == -1).all()


def test_nothing_changes_for_whoever_had_nothing(first, learned_ranker):
    history = torch.zeros(1, first.history_length, dtype=torch.int32)
    scores, items = (first.query(history) @ first.table.flat.T).topk(SHORTLIST)
    logits = learned_ranker(first).logits(history, first.query(history), items, scores)
    torch.testing.assert_close(logits, scores)


def test_the_context_may_change_the_order(first, lists, learned_ranker):
    ranker, given = learned_ranker(first, context=2), lists.given(slice(0, 1))
    one, other = (ranker.logits(*given, torch.tensor([[0.0, x]])) for x in (0.0, 3.0))
    assert one.argsort(dim=1).tolist() != other.argsort(dim=1).tolist()


def test_questions_are_asked_of_the_newest_that_were_new_to_the_user():
    sequences = Sequences.of([np.array([5, 6, 5, 7]), np.array([1]), np.arange(1, 21)])
    asked = training_questions(sequences, seed=0)
    told = [(h.tolist(), int(t)) for h, t in zip(asked.histories, asked.targets, strict=True)]
    assert told[:2] == [([5], 6), ([5, 6, 5], 7)]
    assert told[2] == (list(range(1, 13)), 13)
    assert len(told) == 2 + 8
    assert sequences.items[asked.places].tolist() == asked.targets.tolist()


@pytest.fixture
def planted(first, lists) -> Shortlists:
    """The target is the third of each list: a ranker can know, the first stage does not."""
    third = torch.full_like(lists.place, 2)
    scores = lists.scores.clone()
    scores[:, :3] = scores[:, 2:3] + torch.tensor([2.0, 1.0, 0.5])
    return Shortlists(
        lists.history, lists.query, lists.items, scores, third, np.full(len(lists), 3)
    )


CONFIG = RecsysConfig(rank_epochs=30, rank_learning_rate=0.03)


def test_a_ranker_learns_what_the_first_stage_does_not_know(first, planted):
    torch.manual_seed(0)
    fitted = fit_ranker(first, planted, planted, CONFIG, SilentProgress())
    assert fitted.kept
    assert fitted.first_ndcg == pytest.approx(0.5)
    assert fitted.ndcg == ndcg_at(pipeline_ranks(fitted.ranker.logits, planted), 10) > 0.6


def test_a_ranker_that_orders_worse_is_not_kept(first, planted, lists):
    """What it learnt, that the third is right, is wrong where the first is."""
    right = Shortlists(
        planted.history, planted.query, planted.items, planted.scores,
        torch.zeros_like(planted.place), np.ones(len(planted), np.int64),
    )  # fmt: skip
    torch.manual_seed(0)
    fitted = fit_ranker(first, planted, right, CONFIG, SilentProgress())
    assert not fitted.kept
    assert fitted.ndcg <= fitted.first_ndcg == 1
    assert pipeline_ranks(fitted.ranker.logits, right).tolist() == [1] * len(right)


def test_without_epochs_the_order_is_the_first_stages(first, planted):
    config = CONFIG.model_copy(update={"rank_epochs": 0})
    fitted = fit_ranker(first, planted, planted, config, SilentProgress())
    assert not fitted.kept
    assert pipeline_ranks(fitted.ranker.logits, planted).tolist() == [3] * len(planted)
