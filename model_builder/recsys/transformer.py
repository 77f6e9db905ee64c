"""A causal transformer over a user's items: what comes next?

SASRec (Kang & McAuley 2018, arXiv:1808.09781) with item vectors tied to the output, trained with
cross-entropy over many items instead of one sampled negative (Klenitskiy & Vasilev 2023,
doi:10.1145/3604915.3610644), normalised before each part (Xiong et al. 2020, arXiv:2002.04745).
Instead of a vector added for each place, attention has a learned bias for each distance back
(Raffel et al. 2020, arXiv:1910.10683): places are counted from the item that is read from, so
that a short history is read like the end of a long one.

Letters: ``B`` rows, ``L`` history length, ``D`` width, ``H`` heads, ``V`` catalogue.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

_LOW = -1e4
"""Instead of minus infinity, which makes NaN of a row without anything; fits half precision."""
_INITIAL_SPREAD = 0.1


class Block(nn.Module):
    """Attention, then a two-layer network, each added to what came in."""

    distance: torch.Tensor

    def __init__(self, width: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.distance_bias = nn.Embedding(length, heads)
        nn.init.zeros_(self.distance_bias.weight)
        self.inner_norm = nn.LayerNorm(width)
        self.inner_in = nn.Linear(width, 4 * width)
        self.inner_out = nn.Linear(4 * width, width)
        places = torch.arange(length)
        distance = (places[:, None] - places[None, :]).clamp(min=0)  # (L, L)
        self.register_buffer("distance", distance, persistent=False)

    def forward(self, states: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """``states``: ``(B, L, D)``. ``visible``: ``(B, 1, L, L)`` bool, what each place reads."""
        states = states + self._dropped(self._attend(self.attention_norm(states), visible))
        inner = functional.gelu(self.inner_in(self.inner_norm(states)))
        return states + self._dropped(self.inner_out(inner))

    def _attend(self, states: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        head_width = states.shape[-1] // self.heads
        parts = self.query_key_value(states).unflatten(-1, (3, self.heads, head_width))
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()  # each (B, H, L, D / H)
        weights = query @ key.transpose(-2, -1) / math.sqrt(head_width)
        weights = weights + self.distance_bias(self.distance).permute(2, 0, 1)  # (B, H, L, L)
        weights = self._dropped(torch.where(visible, weights, _LOW).softmax(-1))
        return self.attention_out((weights @ value).transpose(1, 2).flatten(2))

    def _dropped(self, values: torch.Tensor) -> torch.Tensor:
        return functional.dropout(values, self.dropout, self.training)


class NextItemNetwork(nn.Module):
    """Gives every item of the catalogue a logit to be the next one."""

    popularity: torch.Tensor
    causal: torch.Tensor
    own: torch.Tensor

    def __init__(
        self,
        counts: torch.Tensor,
        *,
        width: int,
        layers: int,
        heads: int,
        history_length: int,
        dropout: float,
        negatives: int = 0,
        label_smoothing: float = 0.0,
    ) -> None:
        """Start with the items' vectors at random.

        Args:
            counts: ``(V + 1,)``, how often each item was had in the training data; the first
                is of padding.
            width: Length of the vectors.
            layers: Blocks.
            heads: Of each block's attention.
            history_length: Newest items that are read.
            dropout: Share of values that training sets to 0.
            negatives: Items drawn to stand for the catalogue in training; 0 takes all.
            label_smoothing: Share of certainty that training gives to all items alike.
        """
        super().__init__()
        self.history_length = history_length
        self.dropout = dropout
        self.negatives = negatives
        self.label_smoothing = label_smoothing
        self.items = nn.Embedding(len(counts), width)
        nn.init.normal_(self.items.weight, std=_INITIAL_SPREAD)
        self.blocks = nn.ModuleList(
            Block(width, heads, history_length, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        # One more of each, so that an item nobody had yet is unlikely and not impossible.
        self.register_buffer("popularity", (counts + 1.0).log().float())
        self.bias = nn.Parameter(self.popularity.clone())
        causal = torch.ones(history_length, history_length, dtype=torch.bool).tril()
        self.register_buffer("causal", causal, persistent=False)
        self.register_buffer("own", torch.eye(history_length, dtype=torch.bool), persistent=False)

    @torch.no_grad()
    def lay_out(self, vectors: torch.Tensor) -> None:
        """Start from these vectors of the items instead, ``(V, D)``, at the usual size."""
        spread = vectors.square().mean().sqrt()
        if spread > 0:
            self.items.weight[1:] = vectors / spread * _INITIAL_SPREAD

    def forward(self, history: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits of the next item, or how surprising ``labels`` are.

        Args:
            history: ``(B, L)`` integers: items, oldest first, 0 on the left is padding.
            labels: ``(B, L)`` int64: the item that came after each place; 0 is not asked.

        Returns:
            ``(B, V + 1)`` logits, of which the first, padding's, means nothing. A row without
            items gets the logarithm of the items' popularity. With ``labels``: the mean
            cross-entropy, ``()``.
        """
        states = self.states(history)
        if labels is not None:
            asked = labels > 0
            return self._surprise(states[asked], labels[asked])
        logits = states[:, -1] @ self.items.weight.T + self.bias
        # The newest item stands last, so a row is empty exactly if padding does.
        return torch.where(history[:, -1:] > 0, logits, self.popularity)

    def states(self, history: torch.Tensor) -> torch.Tensor:
        """Return ``(B, L, D)``: what is known after each place of ``history`` ``(B, L)``."""
        known = history > 0
        # Padding reads itself, so that no place is left without anything to read.
        visible = (self.causal & known[:, None, :]) | self.own  # (B, L, L)
        states = functional.dropout(self.items(history), self.dropout, self.training)
        for block in self.blocks:
            states = block(states, visible[:, None])
        return self.norm(states)

    def _surprise(self, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """``states``: ``(N, D)``. ``labels``: ``(N,)``."""
        size = self.items.num_embeddings - 1
        if not 0 < self.negatives < size:
            logits = states @ self.items.weight[1:].T + self.bias[1:]
            return self._losses(logits, labels - 1)
        drawn = torch.randint(1, size + 1, (self.negatives,), device=labels.device)
        chosen, places = torch.cat([labels, drawn]).unique(return_inverse=True)
        places = places[: len(labels)]
        # Items of the batch stand for themselves, each drawn one for many that were not drawn.
        is_label = torch.zeros(len(chosen), dtype=torch.bool, device=labels.device)
        is_label[places] = True
        others, not_drawn = (~is_label).sum(), size - is_label.sum()
        stands_for = torch.where(is_label, 1.0, not_drawn / others.clamp(min=1))
        logits = states @ self.items(chosen).T + self.bias[chosen] + stands_for.log()
        return self._losses(logits, places)

    def _losses(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, target, label_smoothing=self.label_smoothing)
