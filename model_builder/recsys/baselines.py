"""The models that a network is held against, learnt in the same run from the same data.

Each has one setting (how many items count, a penalty, a width) chosen on the validation split;
what else there is to set is fixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from model_builder.evaluation.metrics import ndcg_at
from model_builder.recsys import als, ease, item_knn
from model_builder.recsys.data import Splits
from model_builder.recsys.evaluation import (
    Lists,
    Ranks,
    Scores,
    item_counts,
    lists_by,
    popularity_scores,
    ranks_by,
)


@dataclass(frozen=True)
class Baseline:
    """How one model ranks."""

    name: str
    validation: Ranks
    test: Lists
    chosen: str
    """What the validation split chose, in words; empty if there was nothing to choose."""


def baselines(splits: Splits, item_count: int, seed: int) -> Iterator[Baseline]:
    """Give each baseline once it has learnt; what would not fit a small memory is left out."""
    counts = item_counts(splits, item_count)
    yield _best("popularity", [("", popularity_scores(counts))], splits, item_count)
    yield _best("item_knn", _neighbours(splits, item_count), splits, item_count)
    if ease.fits(len(splits.training), item_count):
        yield _best("ease", _penalties(splits, item_count), splits, item_count)
    yield _best("als", _factors(splits, item_count, seed), splits, item_count)


Candidates = Iterable[tuple[str, Scores]]
"""What is chosen from, each learnt when it is its turn, with what it is called."""


def _best(name: str, candidates: Candidates, splits: Splits, item_count: int) -> Baseline:
    best: tuple[float, str, Ranks, Scores] | None = None
    for chosen, score in candidates:
        ranks = ranks_by(score, splits.validation, item_count + 1)
        gain = ndcg_at(ranks, 10)
        if best is None or gain > best[0]:
            best = gain, chosen, ranks, score
    assert best is not None
    _, chosen, ranks, score = best
    return Baseline(name, ranks, lists_by(score, splits.test, item_count + 1), chosen)


def _neighbours(splits: Splits, item_count: int) -> Candidates:
    model = item_knn.ItemNeighbours(splits.training, item_count)
    for newest in item_knn.NEWEST:
        yield f"newest {newest} items", partial(model.scores, newest=newest)


def _penalties(splits: Splits, item_count: int) -> Candidates:
    together = ease.Together(splits.training, item_count)
    for penalty in ease.PENALTIES:
        yield f"penalty {penalty:g}", ease.Ease(together, penalty).scores


def _factors(splits: Splits, item_count: int, seed: int) -> Candidates:
    for count in als.FACTORS:
        yield f"{count} factors", als.Factors(splits.training, item_count, count, seed).scores
