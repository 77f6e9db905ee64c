"""The step ``rank`` of a release: a second look at the few items that the first stage found.

The first stage gives every item of the catalogue a score by one product, so it can only know what
fits a vector. The ranker sees the shortlist alone, and may look closer: at how each item goes with
the newest of the history, how popular it is, how long the history is, and at the request's
context. What it finds is added to the first stage's score (a residual: without training it changes
nothing).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from model_builder.recsys.item_table import FORBIDDEN, ItemTable
from triton_models.signatures import BECAUSE_ITEMS, MAX_ITEMS

OUTPUTS = ("top_items", "top_scores", "because_slots")

_DISSIMILAR = -2.0
"""Less than any cosine."""
_FADING = (0.0, 0.5, 0.8, 1.0)
"""How much less each older item of a history counts, one way each: the newest alone, …, all."""
_SCORE_UNIT = 4.0
"""Scores and logarithms of counts are divided by it, to be of the size of a cosine."""
_CERTAIN = 1e-12


class Ranker(nn.Module):
    """Orders a shortlist and gives reasons.

    Letters: ``B`` rows, ``L`` history length, ``D`` width, ``N`` shortlist, ``K`` items given,
    ``Q`` columns of the context.
    """

    fading: torch.Tensor

    def __init__(
        self,
        table: ItemTable,
        history_length: int,
        count: int = MAX_ITEMS,
        context: int = 0,
        inner: int = 32,
    ) -> None:
        """Start as what changes nothing.

        Args:
            table: The items.
            history_length: ``L``.
            count: ``K``, at most as many as the shortlist has.
            context: ``Q``.
            inner: Width of the network.
        """
        super().__init__()
        self.table = table
        self.history_length = history_length
        self.count = count
        self.of_pair = nn.Linear(len(_FADING) + 3, inner)
        self.of_row = nn.Linear(1 + context, inner, bias=False)
        self.of_item = nn.Linear(table.width, inner, bias=False)
        self.of_query = nn.Linear(table.width, inner, bias=False)
        self.out = nn.Linear(inner, 1, bias=False)
        self.reset()
        ages = torch.arange(history_length - 1, -1, -1.0)
        self.register_buffer("fading", torch.tensor(_FADING)[:, None] ** ages, persistent=False)

    def reset(self) -> None:
        """Forget what was learned: the order is the first stage's again."""
        nn.init.zeros_(self.out.weight)

    def forward(
        self,
        history: torch.Tensor,
        query: torch.Tensor,
        shortlist: torch.Tensor,
        shortlist_scores: torch.Tensor,
        inputs: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rank.

        Args:
            history: ``(B, L)`` int32, items, oldest first, padded on the left with 0.
            query: ``(B, D + 2)`` float32, of the first stage.
            shortlist: ``(B, N)`` int32, items, best first, 0 where none is left.
            shortlist_scores: ``(B, N)`` float32, the first stage's.
            inputs: ``(B, Q)`` float32, the context as it was prepared; only if there is any.

        Returns:
            ``(B, K)`` int32 items, best first, 0 where none is left. ``(B, K)`` float32
            probabilities among the shortlist, 0 where none is left. ``(B, K, 2)`` int32 places in
            ``history`` of the most similar items, -1 for none.
        """
        logits = self.logits(history, query, shortlist, shortlist_scores, inputs)
        best, places = logits.topk(self.count, dim=1)
        left = best > FORBIDDEN / 2
        items = torch.where(left, shortlist.gather(1, places), 0)
        probabilities = torch.where(left, logits.softmax(1).gather(1, places), 0.0)
        return items.int(), probabilities, self._because(items, history)

    def logits(
        self,
        history: torch.Tensor,
        query: torch.Tensor,
        shortlist: torch.Tensor,
        shortlist_scores: torch.Tensor,
        inputs: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return ``(B, N)``; ``FORBIDDEN`` where the shortlist has no item."""
        rows = self.table(shortlist)  # (B, N, D + 2)
        vectors, popularity = rows[..., : self.table.width], rows[..., self.table.width + 1 :]
        state = query[:, : self.table.width]
        behind = shortlist_scores - shortlist_scores[:, :1]
        pairs = torch.cat(
            [
                functional.normalize(vectors, dim=-1, eps=_CERTAIN)
                @ self._profiles(history).transpose(1, 2),
                (vectors @ state[:, :, None]) / _SCORE_UNIT,
                behind.clamp(min=-4 * _SCORE_UNIT)[:, :, None] / _SCORE_UNIT,
                popularity / _SCORE_UNIT,
            ],
            dim=2,
        )  # (B, N, F)
        length = (history > 0).sum(1, keepdim=True).float()
        row = [length.log1p() / math.log1p(self.history_length)]
        inner = (
            self.of_pair(pairs)
            + self.of_item(vectors)
            + (
                self.of_row(torch.cat([*row, *([] if inputs is None else [inputs])], dim=1))
                + self.of_query(state)
            )[:, None, :]
        )
        # Nothing is learnt of empty histories: they keep the prior, which is popularity.
        any_history = query[:, self.table.width : self.table.width + 1]
        found = self.out(functional.gelu(inner))[..., 0] * _share(shortlist, shortlist_scores)
        return torch.where(shortlist > 0, shortlist_scores + found * any_history, FORBIDDEN)

    def _profiles(self, history: torch.Tensor) -> torch.Tensor:
        """Return ``(B, 4, D)``: means of the directions of a history's items, each way."""
        known = (history > 0).float()[:, None, :]  # (B, 1, L)
        weights = self.fading * known
        weights = weights / weights.sum(2, keepdim=True).clamp(min=_CERTAIN)
        return weights @ self._directions(history)

    def _directions(self, items: torch.Tensor) -> torch.Tensor:
        """Return ``(…, D)``: of each item, where its vector points, one long."""
        return functional.normalize(
            self.table(items)[..., : self.table.width], dim=-1, eps=_CERTAIN
        )

    def _because(self, items: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        """Name the most similar items of the history, none that points elsewhere.

        An item that the history holds twice counts where it is newest.
        """
        past = self._directions(history)  # (B, L, D)
        same = history[:, :, None] == history[:, None, :]  # (B, L, L)
        again_later = same.triu(1).any(2)
        counts = (history > 0) & ~again_later
        similarity = self._directions(items) @ past.transpose(1, 2)  # (B, K, L)
        similarity = torch.where(counts[:, None, :], similarity, _DISSIMILAR)
        closest, slots = similarity.topk(BECAUSE_ITEMS, dim=2)
        real = (closest > 0) & (items[:, :, None] > 0)
        return torch.where(real, slots, -1).int()


def _share(shortlist: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Return ``(B, N)``: how much of what is found counts, from 0 at the end of a full shortlist.

    So an item that just comes onto the list stands where it would if the list were longer, and
    whether rounding let it on changes nothing.
    """
    full = shortlist[:, -1:] > 0
    return torch.where(full, (scores - scores[:, -1:]).clamp(0, 1), 1.0)
