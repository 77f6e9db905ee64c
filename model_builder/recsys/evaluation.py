"""How far up the item stands that each user really had next, among the whole catalogue.

Nothing is sampled: sampled ranking measures may order models wrongly (Krichene & Rendle 2020,
doi:10.1145/3394486.3403226).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from model_builder.evaluation.bootstrap import mean_interval
from model_builder.evaluation.metrics import ndcg_gains
from model_builder.recsys.data import Items, Questions, Splits
from model_builder.recsys.reference import next_item_logits
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.task import Metrics

Ranks = npt.NDArray[np.int64]
"""``(rows,)`` from 1; a target that may not be recommended stands behind all others."""

HEADLINE = ("ndcg@10", "hr@10", "mrr")

_ROWS = 500
"""Scored at once: the scores of a whole split may not fit the memory."""

_Scores = Callable[[Sequence[Items]], npt.NDArray[np.floating]]


def network_ranks(network: NextItemNetwork, questions: Questions) -> Ranks:
    """Return the ranks of the targets by the network."""
    return _ranks(lambda histories: next_item_logits(network, histories), questions)


def popularity_ranks(counts: npt.NDArray[np.int64], questions: Questions) -> Ranks:
    """Return the ranks of the targets if everyone is recommended what most had.

    Args:
        counts: ``(V + 1,)``, how often each item was had in the training data.
        questions: Who is asked for.
    """
    return _ranks(
        lambda histories: np.tile(counts.astype(np.float64), (len(histories), 1)), questions
    )


def item_counts(splits: Splits, item_count: int) -> npt.NDArray[np.int64]:
    """Return ``(V + 1,)``: how often each item was had in the training data."""
    return np.bincount(np.concatenate(splits.training), minlength=item_count + 1)


def measure(ranks: Ranks, seed: int) -> Metrics:
    """Return every measure with its interval over resampled users."""
    values = {
        **{f"ndcg@{k}": ndcg_gains(ranks, k) for k in (10, 5, 20)},
        **{f"hr@{k}": (ranks <= k).astype(np.float64) for k in (10, 5, 20)},
        "mrr": 1.0 / ranks,
    }
    return {name: mean_interval(each, seed=seed) for name, each in values.items()}


def rank_of(scores: npt.NDArray[np.floating], history: Items, target: int) -> int:
    """Return the place of ``target``, from 1, once ``history`` is taken out.

    Items of the same score share the middle of their places, rounded up, so that a model
    that cannot tell items apart gains nothing by it.

    Args:
        scores: ``(V + 1,)``, the first is of padding.
        history: Items that may not be recommended.
        target: The item that came next.
    """
    allowed = np.ones(len(scores), np.bool_)
    allowed[0] = False
    allowed[history] = False
    if not allowed[target]:
        return len(scores) - 1
    others = scores[allowed]
    better = int((others > scores[target]).sum())
    ties = int((others == scores[target]).sum()) - 1
    return 1 + better + (ties + 1) // 2


def _ranks(score: _Scores, questions: Questions) -> Ranks:
    found = [
        rank_of(scores, history, int(target))
        for part in _parts(questions)
        for scores, history, target in zip(
            score(part.histories), part.histories, part.targets, strict=True
        )
    ]
    return np.array(found, np.int64)


def _parts(questions: Questions) -> Iterator[Questions]:
    for start in range(0, len(questions), _ROWS):
        rows = slice(start, start + _ROWS)
        yield Questions(questions.histories[rows], questions.targets[rows])
