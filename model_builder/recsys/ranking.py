"""The core of a release: from items to the best of those that may be recommended."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from model_builder.recsys.transformer import NextItemNetwork
from triton_models.signatures import BECAUSE_ITEMS, MAX_ITEMS

OUTPUTS = ("top_items", "top_scores", "because_slots")

_FORBIDDEN = -3e4
"""A logit that no item has, and that half precision can hold."""
_DISSIMILAR = -2.0
"""Less than any cosine."""


class Ranker(nn.Module):
    """Masks, ranks and gives reasons; the network itself decides.

    Letters: ``B`` rows, ``L`` history length, ``V`` catalogue, ``K`` items given.
    """

    def __init__(self, network: NextItemNetwork) -> None:
        super().__init__()
        self.network = network
        catalogue = network.items.num_embeddings - 1
        self.count = min(MAX_ITEMS, catalogue)  # K
        self.register_buffer("is_item", torch.arange(catalogue + 1) > 0, persistent=False)

    def forward(
        self,
        history: torch.Tensor,
        candidates: torch.Tensor,
        candidates_given: torch.Tensor,
        excluded: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rank.

        Args:
            history: ``(B, L)`` int32, items, oldest first, padded on the left with 0.
            candidates: ``(B, C)`` int32, items; 0 is none.
            candidates_given: ``(B, 1)`` int32, 1 if only candidates may be recommended.
            excluded: ``(B, X)`` int32, items that may not be recommended; 0 is none.

        Returns:
            ``(B, K)`` int32 items, best first, 0 where none is left. ``(B, K)`` float32
            probabilities among what may be recommended, 0 where none is left.
            ``(B, K, 2)`` int32 places in ``history`` of the most similar items, -1 for none.
        """
        logits = self.network(history)
        allowed = self._allowed(logits, candidates, candidates_given, excluded)
        masked = torch.where(allowed, logits, _FORBIDDEN)
        best, items = masked.topk(self.count, dim=1)
        probabilities = masked.softmax(1).gather(1, items)
        left = best > _FORBIDDEN
        items = torch.where(left, items, 0)
        scores = torch.where(left, probabilities, 0.0)
        return items.int(), scores, self._because(items, history)

    def _allowed(
        self,
        logits: torch.Tensor,
        candidates: torch.Tensor,
        candidates_given: torch.Tensor,
        excluded: torch.Tensor,
    ) -> torch.Tensor:
        """Return ``(B, V + 1)`` bool."""
        none = torch.zeros_like(logits)
        wanted = none.scatter(1, candidates.long(), 1.0) > 0
        refused = none.scatter(1, excluded.long(), 1.0) > 0
        return (wanted | (candidates_given == 0)) & ~refused & self.is_item

    def _because(self, items: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        """Name the most similar items of the history, none that points elsewhere.

        An item that the history holds twice counts where it is newest.
        """
        vectors = functional.normalize(self.network.items(items), dim=-1)  # (B, K, D)
        past = functional.normalize(self.network.items(history), dim=-1)  # (B, L, D)
        same = history[:, :, None] == history[:, None, :]  # (B, L, L)
        again_later = (same & ~self.network.causal).any(2)
        counts = (history > 0) & ~again_later
        similarity = vectors @ past.transpose(1, 2)  # (B, K, L)
        similarity = torch.where(counts[:, None, :], similarity, _DISSIMILAR)
        closest, slots = similarity.topk(BECAUSE_ITEMS, dim=2)
        real = (closest > 0) & (items[:, :, None] > 0)
        return torch.where(real, slots, -1).int()
