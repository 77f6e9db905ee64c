"""What the first stage finds for many histories, and where the target stands in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from model_builder.recsys.data import Items, Questions
from model_builder.recsys.evaluation import SHOWN, Lists, Ranks, of_alike_lengths, tied_ranks
from model_builder.recsys.item_table import FORBIDDEN, ItemTable
from model_builder.recsys.querying import Query
from model_builder.recsys.reference import padded_items
from model_builder.recsys.transformer import NextItemNetwork
from triton_models.signatures import MAX_ITEMS

_SCORES = 20_000_000
"""Held at once."""


class FirstStage:
    """A trained network and its table.

    Args:
        network: Trained.
        shortlist: ``N``: items that the second stage sees, fewer if the catalogue has fewer.
    """

    def __init__(self, network: NextItemNetwork, shortlist: int) -> None:
        self.table = ItemTable.of(network)
        self.query = Query(network, self.table).eval()
        self.history_length = network.history_length
        self.time_gaps = network.gaps is not None
        self.shortlist = min(shortlist, self.table.count)
        self.count = min(MAX_ITEMS, self.shortlist)


GIVEN = ("history", "query", "items", "scores", "inputs")
"""What the ranker takes of shortlists, in its order; the last only if there is any."""


@dataclass(frozen=True)
class Shortlists:
    """Of many questions: what the second stage is given, and where the target stands."""

    history: torch.Tensor
    """``(rows, L)`` int32, 0 on the left is padding."""
    query: torch.Tensor
    """``(rows, D + 2)`` float32."""
    items: torch.Tensor
    """``(rows, N)`` int32, best first, 0 is none."""
    scores: torch.Tensor
    """``(rows, N)`` float32."""
    place: torch.Tensor
    """``(rows,)`` int64: of the target on the list, -1 if it is not there."""
    first_rank: npt.NDArray[np.int64]
    """``(rows,)`` of the target by the first stage alone, from 1."""
    inputs: torch.Tensor | None = None
    """``(rows, Q)`` float32: the context as it was prepared, where there is any."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.first_rank)

    @property
    def found(self) -> float:
        """The share of targets that are on the list: no ranker can do better."""
        return float((self.place >= 0).float().mean())

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What the ranker takes, in its order, and where the target stands, by name."""
        named = {name: getattr(self, name) for name in (*GIVEN, "place")}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def only(self, rows: torch.Tensor) -> Shortlists:
        """Return some rows."""
        tensors = {name: tensor[rows] for name, tensor in self.tensors.items()}
        return replace(self, **tensors, first_rank=self.first_rank[rows.numpy()])

    def given(self, rows: slice) -> tuple[torch.Tensor, ...]:
        """Return what the ranker takes of some rows."""
        return tuple(tensor[rows] for name, tensor in self.tensors.items() if name in GIVEN)


def shortlists(first: FirstStage, questions: Questions) -> Shortlists:
    """Ask the first stage; what a history holds is not recommended again."""
    length = first.history_length
    history = torch.from_numpy(padded_items(questions.histories, length).astype(np.int32))
    rows = max(1, _SCORES // (first.table.count + 1))
    parts = []
    with torch.no_grad():
        # Of no question there is one part too, an empty one.
        for start in range(0, max(len(questions), 1), rows):
            part = slice(start, start + rows)
            parts.append(
                _shortlisted(
                    first,
                    queries(first, questions.histories[part]),
                    questions.histories[part],
                    questions.targets[part],
                )
            )
    query, items, scores, place, rank = (torch.cat(each) for each in zip(*parts, strict=True))
    return Shortlists(history, query, items.int(), scores, place, rank.numpy())


def queries(first: FirstStage, histories: Sequence[Items]) -> torch.Tensor:
    """Return ``(rows, D + 2)``: what the first stage makes of histories.

    Those of like length are read together, and few at a time: attention over all places of all
    histories at once would take a hundred times the memory of what comes out.
    """
    # What an empty history gives, until something else is known.
    found = torch.zeros(len(histories), first.table.width + 2)
    found[:, -1] = 1
    for alike in of_alike_lengths(histories, first.history_length):
        found[alike.rows] = first.query.of_begun(alike.history, alike.lengths, alike.gaps)
    return found


def _shortlisted(
    first: FirstStage,
    query: torch.Tensor,
    histories: Sequence[Items],
    targets: npt.NDArray[np.int64],
) -> tuple[torch.Tensor, ...]:
    logits = _without_nan(query @ first.table.flat.T)
    row = torch.from_numpy(np.repeat(np.arange(len(histories)), [len(h) for h in histories]))
    had = np.concatenate([np.empty(0, np.int64), *histories])
    logits[row, torch.from_numpy(had.astype(np.int64))] = FORBIDDEN
    target = torch.from_numpy(np.asarray(targets, np.int64))[:, None]
    scores, items = logits.topk(first.shortlist, dim=1)
    items = torch.where(scores > FORBIDDEN / 2, items, 0)
    hit = items == target
    place = torch.where(hit.any(1), hit.int().argmax(1), -1)
    return query, items, scores, place, _ranks(logits, logits.gather(1, target))


Order = Callable[..., torch.Tensor]
"""From what the ranker takes to its logits, ``(rows, N)``: ``Ranker.logits``."""


def pipeline_ranks(order: Order, lists: Shortlists) -> Ranks:
    """Return ``(rows,)``: the rank of each target by both stages together, from 1.

    A target that is not on the shortlist keeps the rank of the first stage, which is behind it.
    """
    return pipeline_lists(order, lists).ranks


def pipeline_lists(order: Order, lists: Shortlists) -> Lists:
    """Return the ranks of the targets by both stages, and what stands first."""
    ranks, best = [np.empty(0, np.int64)], [np.empty((0, SHOWN), np.int64)]
    with torch.no_grad():
        for start in range(0, len(lists), _ROWS):
            rows = slice(start, start + _ROWS)
            logits = _without_nan(order(*lists.given(rows)))
            target = logits.gather(1, lists.place[rows, None].clamp(min=0))
            ranks.append(_ranks(logits, target).numpy())
            found = logits.topk(min(SHOWN, logits.shape[1]), dim=1)
            items = lists.items[rows].gather(1, found.indices).numpy()
            best.append(np.pad(items, ((0, 0), (0, SHOWN - items.shape[1]))))
    both = np.where(lists.place.numpy() >= 0, np.concatenate(ranks), lists.first_rank)
    return Lists(both, np.concatenate(best).astype(np.int64))


_ROWS = 500


def _without_nan(logits: torch.Tensor) -> torch.Tensor:
    """Return the logits with NaN forbidden: it is above and below nothing."""
    return logits.masked_fill(logits.isnan(), FORBIDDEN)


def _ranks(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return ``(rows,)``: the rank of the target's logit ``(rows, 1)``."""
    return torch.from_numpy(tied_ranks(logits.numpy(), target.numpy(), FORBIDDEN / 2))
