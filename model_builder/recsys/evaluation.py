"""How far up the item stands that each user really had next, among the whole catalogue.

Nothing is sampled: sampled ranking measures may order models wrongly (Krichene & Rendle 2020,
doi:10.1145/3394486.3403226). What a user had already is not ranked, as in the papers whose figures
are compared with (``filter_seen`` of Klenitskiy & Vasilev 2023, Petrov & Macdonald 2023).

Letters: ``Q`` questions, ``V`` catalogue, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from model_builder.evaluation.bootstrap import mean_interval
from model_builder.evaluation.metrics import ndcg_gains
from model_builder.recsys.data import Items, Questions, Sequences, Splits
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.task import Metrics

Ranks = npt.NDArray[np.int64]
"""``(Q,)`` from 1; a target that may not be recommended stands behind all others."""

HEADLINE = ("ndcg@10", "hr@10", "mrr@10")
CUTS = (10, 5, 20)
"""Where lists are cut off; the first is the usual one."""

SHOWN = 20
"""Items of a list that are kept."""

_CELLS = 8_000_000
"""Scores that are held at once, whatever the catalogue: 32 MB, and a few copies."""
_PLACES = 20_000
"""Places that the network reads at once."""

Scores = Callable[[Sequence[Items]], npt.NDArray[np.floating]]
"""From ``Q`` histories to ``(Q, V + 1)``, of which the first is of padding."""


@dataclass(frozen=True)
class Lists:
    """What is recommended to each user, and where in it the item stands that they had next."""

    ranks: Ranks
    items: npt.NDArray[np.int64]
    """``(Q, SHOWN)``, best first; 0 where no more may be recommended."""


def network_ranks(network: NextItemNetwork, questions: Questions) -> Ranks:
    """Return the ranks of the targets by the network."""
    return ranks_by(network_scores(network), questions, network.items.num_embeddings)


def network_scores(network: NextItemNetwork) -> Scores:
    """Return what asks the network, which reads many short histories at once."""
    return partial(next_item_scores, network)


@torch.no_grad()
def next_item_scores(
    network: NextItemNetwork, histories: Sequence[Items]
) -> npt.NDArray[np.float32]:
    """Return ``(Q, V + 1)`` float32, the logits of the next item after each history.

    The same as the network gives for histories padded to its length, with less to compute.
    """
    scores = torch.empty(len(histories), network.items.num_embeddings)
    empty = np.array([len(items) == 0 for items in histories], np.bool_)
    scores[empty] = network.popularity.cpu()
    for alike in of_alike_lengths(histories, network.history_length):
        scores[alike.rows] = network(alike.history, lengths=alike.lengths, gaps=alike.gaps)
    return scores.numpy()


@dataclass(frozen=True)
class Alike:
    """Histories of like lengths, ``l`` at most."""

    rows: torch.Tensor
    """``(B,)`` int64, which they are."""
    history: torch.Tensor
    """``(B, l)`` int64, the newest items of each, oldest first, padded on the right."""
    lengths: torch.Tensor
    """``(B,)`` int64, how many each has."""
    gaps: torch.Tensor
    """As ``history``: how long it was from each item to the next, 0 where it is not known."""


def of_alike_lengths(histories: Sequence[Items], longest: int) -> Iterator[Alike]:
    """Give histories that have items, few enough at a time to be read at once, longest first."""
    runs = histories if isinstance(histories, Sequences) and histories.gaps is not None else None
    newest = [items[-longest:] for items in histories]
    lengths = np.array([len(items) for items in newest], np.int64)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    while len(order):
        # Longest last: as many rows as their own length allows.
        count = max(1, int(_PLACES // lengths[order[-1]]))
        rows, order = order[-count:], order[:-count]
        begun, gaps = np.zeros((2, len(rows), lengths[rows[-1]]), np.int64)
        for row, number in enumerate(rows):
            begun[row, : lengths[number]] = newest[number]
            if runs is not None:
                gaps[row, : lengths[number]] = runs.gaps_of(number)[-longest:]
        yield Alike(*map(torch.from_numpy, (rows, begun, lengths[rows], gaps)))


def popularity_scores(counts: npt.NDArray[np.int64]) -> Scores:
    """Return what recommends to everyone what most had; ``counts``: ``(V + 1,)``."""
    return lambda histories: np.tile(counts.astype(np.float32), (len(histories), 1))


def item_counts(splits: Splits, item_count: int) -> npt.NDArray[np.int64]:
    """Return ``(V + 1,)``: how often each item was had in the training data."""
    return splits.training.counts(item_count)


def ranks_by(score: Scores, questions: Questions, size: int) -> Ranks:
    """Return the ranks of the targets; ``size`` is ``V + 1``."""
    parts = [_ranks(_allowed(score(part.histories), part.histories), part.targets)
             for part in _parts(questions, size)]  # fmt: skip
    return np.concatenate([np.empty(0, np.int64), *parts])


def lists_by(score: Scores, questions: Questions, size: int) -> Lists:
    """Return the ranks of the targets and what stands first; ``size`` is ``V + 1``."""
    ranks, items = [np.empty(0, np.int64)], [np.empty((0, SHOWN), np.int64)]
    for part in _parts(questions, size):
        scores = _allowed(score(part.histories), part.histories)
        ranks.append(_ranks(scores, part.targets))
        items.append(_best(scores))
    return Lists(np.concatenate(ranks), np.concatenate(items))


def measure(ranks: Ranks, seed: int) -> Metrics:
    """Return every measure with its interval over resampled users."""
    values = {
        **{f"ndcg@{k}": ndcg_gains(ranks, k) for k in CUTS},
        **{f"hr@{k}": (ranks <= k).astype(np.float64) for k in CUTS},
        **{f"mrr@{k}": np.where(ranks <= k, 1.0 / ranks, 0.0) for k in CUTS},
        "mrr": 1.0 / ranks,
    }
    return {name: mean_interval(each, seed=seed) for name, each in values.items()}


def listed_ranks(
    lists: Iterable[npt.NDArray[np.object_]], targets: Sequence[str], last: int
) -> Ranks:
    """Return the places of the targets in lists of item IDs, from 1; ``last`` for none."""
    places = [
        np.flatnonzero(listed == target) for listed, target in zip(lists, targets, strict=True)
    ]
    return np.array([int(found[0]) + 1 if len(found) else last for found in places], np.int64)


def measure_listed(ranks: Ranks, seed: int) -> Metrics:
    """Return the measures that lists with an end can tell."""
    return {name: metric for name, metric in measure(ranks, seed).items() if "@" in name}


def _allowed(
    scores: npt.NDArray[np.floating], histories: Sequence[Items]
) -> npt.NDArray[np.floating]:
    """Return ``scores`` with minus infinity for padding, for what each user had, and for NaN.

    NaN is above and below nothing, so that it would be both the best and the worst.
    """
    scores[np.isnan(scores)] = -np.inf
    scores[:, 0] = -np.inf
    rows = np.repeat(np.arange(len(histories)), [len(items) for items in histories])
    if len(rows):
        scores[rows, np.concatenate(histories)] = -np.inf
    return scores


def _ranks(scores: npt.NDArray[np.floating], targets: Items) -> Ranks:
    """Return the place of each target, from 1."""
    return tied_ranks(scores, scores[np.arange(len(targets)), targets][:, None], -np.inf)


def tied_ranks(
    scores: npt.NDArray[np.floating], own: npt.NDArray[np.floating], forbidden: float
) -> Ranks:
    """Return ``(rows,)``: the place, from 1, of one score among those of its row.

    Items of the same score share the middle of their places, rounded up, so that a model
    that cannot tell items apart gains nothing by it.

    Args:
        scores: ``(rows, n)``.
        own: ``(rows, 1)``, the ones that are looked for.
        forbidden: Up to here, a score says that the item may not be recommended: it comes last.
    """
    better = (scores > own).sum(1)
    ties = (scores == own).sum(1) - 1
    last = max(scores.shape[1] - 1, 1)
    return np.where(own[:, 0] <= forbidden, last, 1 + better + (ties + 1) // 2)


def _best(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return ``(Q, SHOWN)``: the best items, 0 where none is left."""
    count = min(SHOWN, scores.shape[1])
    found = torch.from_numpy(scores).topk(count, dim=1)
    items = torch.where(found.values.isneginf(), 0, found.indices).numpy()
    return np.pad(items, ((0, 0), (0, SHOWN - count)))


def _parts(questions: Questions, size: int) -> Iterator[Questions]:
    together = max(1, _CELLS // size)
    for start in range(0, len(questions), together):
        rows = slice(start, start + together)
        yield Questions(questions.histories[rows], questions.targets[rows])
