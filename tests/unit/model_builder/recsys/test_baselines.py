from __future__ import annotations

import numpy as np
import pytest

from model_builder.recsys import baselines as subject
from model_builder.recsys import ease
from model_builder.recsys.als import Factors
from model_builder.recsys.baselines import baselines
from model_builder.recsys.data import leave_one_out
from model_builder.recsys.ease import Ease, Together
from model_builder.recsys.evaluation import HEADLINE, measure, ranks_by
from model_builder.recsys.sequences import Sequences
from model_builder.recsys.sets import sets_of

ITEMS = 12


def arrays(*sequences: list[int]) -> list[np.ndarray]:
    return [np.array(items, np.int64) for items in sequences]


ONE, OTHER = [1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]
SPLITS = leave_one_out(
    arrays(*[ONE] * 5, *[OTHER] * 5, [3, 1, 2, 4], [7, 9, 8, 10], [1, 9, 3, 8]), "log.csv"
)


def test_a_set_holds_an_item_once_however_often_it_was_had():
    runs = Sequences.of(arrays([3, 1, 3], [], [2]))
    rows = sets_of(runs, 4)
    assert runs.items.tolist() == [3, 1, 3, 2]  # the log itself stays in order
    assert rows.toarray().tolist() == [[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0]]


def ridge(had: np.ndarray, past: np.ndarray, penalty: float) -> np.ndarray:
    """EASE as its paper states it, with a dense inverse."""
    inverse = np.linalg.inv(had.T @ had + penalty * np.eye(had.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return past @ weights


@pytest.mark.parametrize("users", [5, 40], ids=["more items", "more users"])
def test_ease_is_that_of_its_paper_whichever_way_is_shorter(users, monkeypatch):
    monkeypatch.setattr(ease, "_COLUMNS", 5)
    draws = np.random.default_rng(0)
    sequences = [draws.permutation(ITEMS)[: draws.integers(2, 8)] + 1 for _ in range(users)]
    past = arrays([1, 5, 7], [2], [])
    found = Ease(Together(sequences, ITEMS), 3.0).scores(past)
    wanted = ridge(sets_of(sequences, ITEMS).toarray(), sets_of(past, ITEMS).toarray(), 3.0)
    unseen = sets_of(past, ITEMS).toarray() == 0
    unseen[:, 0] = False
    np.testing.assert_allclose(found[unseen], wanted[unseen], rtol=0, atol=1e-5)


def test_ease_is_left_out_where_its_square_would_not_fit(monkeypatch):
    assert "ease" in {baseline.name for baseline in baselines(SPLITS, ITEMS, 0)}
    monkeypatch.setattr(ease, "LARGEST", 10)
    names = [baseline.name for baseline in baselines(SPLITS, ITEMS, 0)]
    assert names == ["popularity", "item_knn", "als"]


def test_factors_recommend_what_the_like_minded_had():
    model = Factors(arrays(*[ONE] * 20, *[OTHER] * 20), ITEMS, 4, seed=0)
    scores = model.scores(arrays([1, 2], [8, 9]))
    assert scores[0, ONE].min() > scores[0, OTHER].max()
    assert scores[1, OTHER].min() > scores[1, ONE].max()


@pytest.fixture(scope="module")
def learnt() -> dict[str, subject.Baseline]:
    return {baseline.name: baseline for baseline in baselines(SPLITS, ITEMS, 0)}


@pytest.mark.parametrize("name", ["item_knn", "ease", "als"])
def test_each_finds_who_had_what_together(learnt, name):
    """After 3, 1 and 2 only 4 is left of what their like had."""
    assert learnt[name].test.items[10, 0] == 4
    assert learnt[name].test.items[11, 0] == 10
    assert learnt[name].validation.shape == learnt[name].test.ranks.shape == (13,)
    assert set(HEADLINE) <= measure(learnt[name].test.ranks, 0).keys()


def test_the_validation_split_chooses_and_says_what(learnt, monkeypatch):
    assert learnt["popularity"].chosen == ""
    tried = {}
    for penalty in ease.PENALTIES:
        scores = Ease(Together(SPLITS.training, ITEMS), penalty).scores
        ranks = ranks_by(scores, SPLITS.validation, ITEMS + 1)
        tried[f"penalty {penalty:g}"] = measure(ranks, 0)["ndcg@10"].value
    assert tried[learnt["ease"].chosen] == max(tried.values())
