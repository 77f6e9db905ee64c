"""A causal transformer over a user's items: what comes next?

SASRec (Kang & McAuley 2018, arXiv:1808.09781) with item vectors tied to the output, trained with
cross-entropy over the catalogue instead of one sampled negative (Klenitskiy & Vasilev 2023,
doi:10.1145/3604915.3610644; ``surprise``), normalised before each part (Xiong et al. 2020,
arXiv:2002.04745), with rotary positions (``rotary``) instead of a vector added for each place.

Letters: ``B`` rows, ``L`` history length, ``D`` width, ``H`` heads, ``V`` catalogue.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from model_builder.recsys.rotary import turned, turns
from model_builder.recsys.surprise import surprise_among_all, surprise_among_drawn
from model_builder.recsys.time_gaps import GAPS

_LOW = -1e4
"""Instead of minus infinity, which makes NaN of a row without anything; fits half precision."""
_INITIAL_SPREAD = 0.1
_HIDDEN = 0.1
"""Share of the gaps, and of all gaps of a history, that training hides: they may not be known."""


class Block(nn.Module):
    """Attention, then a two-layer network, each added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.inner_norm = nn.LayerNorm(width)
        self.inner_in = nn.Linear(width, 4 * width)
        self.inner_out = nn.Linear(4 * width, width)

    def forward(
        self, states: torch.Tensor, places: torch.Tensor, visible: torch.Tensor | None
    ) -> torch.Tensor:
        """Read on.

        Args:
            states: ``(B, L, D)``.
            places: ``(2, L, D / H / 2)``, how far each place is turned.
            visible: ``(B, 1, L, L)`` bool, what each place reads; ``None`` for all before it.
        """
        return self.read_on(states, self._attend(self.attention_norm(states), places, visible))

    def read_on(self, states: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        """Return what becomes of ``states`` ``(B, …, D)`` by what attention has read for them."""
        states = states + self._dropped(read)
        inner = functional.gelu(self.inner_in(self.inner_norm(states)))
        return states + self._dropped(self.inner_out(inner))

    def _attend(
        self, states: torch.Tensor, places: torch.Tensor, visible: torch.Tensor | None
    ) -> torch.Tensor:
        head_width = states.shape[-1] // self.heads
        parts = self.query_key_value(states).unflatten(-1, (3, self.heads, head_width))
        parts = parts.permute(2, 0, 3, 1, 4)  # (3, B, H, L, D / H)
        query, key = turned(parts[:2], places).unbind()
        if visible is None:
            # Fused: neither the weights nor what lies ahead are ever computed.
            read = functional.scaled_dot_product_attention(query, key, parts[2], is_causal=True)
        else:
            read = looked_up(query, key, parts[2], visible)
        return self.attention_out(read.transpose(1, 2).flatten(2))

    def _dropped(self, values: torch.Tensor) -> torch.Tensor:
        return functional.dropout(values, self.dropout, self.training)


def looked_up(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, visible: torch.Tensor
) -> torch.Tensor:
    """Return ``(B, H, l, D / H)``: attention written out, of ``l`` places to ``L``.

    Args:
        query: ``(B, H, l, D / H)``.
        key: ``(B, H, L, D / H)``.
        value: As ``key``.
        visible: ``(B, 1, l, L)`` bool, what each place reads.
    """
    weights = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return torch.where(visible, weights, _LOW).softmax(-1) @ value


class NextItemNetwork(nn.Module):
    """Gives every item of the catalogue a logit to be the next one."""

    popularity: torch.Tensor
    causal: torch.Tensor
    own: torch.Tensor
    places: torch.Tensor

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
        time_gaps: bool = False,
    ) -> None:
        """Start with the items' vectors at random.

        Args:
            counts: ``(V + 1,)``, how often each item was had in the training data; the first
                is of padding.
            width: Length of the vectors.
            layers: Blocks.
            heads: Of each block's attention; each has an even share of the width.
            history_length: Newest items that are read.
            dropout: Share of values that training sets to 0.
            negatives: Items drawn to stand for the catalogue in training; 0 takes all.
            label_smoothing: Share of certainty that training gives to all items alike.
            time_gaps: Whether it reads how long it was from each item to the next.
        """
        super().__init__()
        self.history_length = history_length
        self.dropout = dropout
        self.negatives = negatives
        self.label_smoothing = label_smoothing
        self.items = nn.Embedding(len(counts), width)
        nn.init.normal_(self.items.weight, std=_INITIAL_SPREAD)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.gaps: nn.Embedding | None = None
        if time_gaps:
            self.gaps = nn.Embedding(GAPS, width, padding_idx=0)
            nn.init.zeros_(self.gaps.weight)
        # One more of each, so that an item nobody had yet is unlikely and not impossible.
        self.register_buffer("popularity", (counts + 1.0).log().float())
        self.bias = nn.Parameter(self.popularity.clone())
        causal = torch.ones(history_length, history_length, dtype=torch.bool).tril()
        self.register_buffer("causal", causal, persistent=False)
        self.register_buffer("own", torch.eye(history_length, dtype=torch.bool), persistent=False)
        places = turns(history_length, width // heads)
        self.register_buffer("places", places, persistent=False)

    @property
    def sizes(self) -> dict[str, int]:
        """What decides the shapes of its weights besides the catalogue, by argument."""
        return {
            "history_length": self.history_length,
            "width": self.items.embedding_dim,
            "layers": len(self.blocks),
            "heads": self.blocks[0].heads,
            "time_gaps": self.gaps is not None,
        }

    @torch.no_grad()
    def lay_out(self, vectors: torch.Tensor) -> None:
        """Start from these vectors of the items instead, ``(V, D)``, at the usual size."""
        spread = vectors.square().mean().sqrt()
        if spread > 0:
            self.items.weight[1:] = vectors / spread * _INITIAL_SPREAD

    def forward(
        self,
        history: torch.Tensor,
        labels: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        gaps: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the logits of the next item, or how surprising ``labels`` are.

        Args:
            history: ``(B, L)`` integers: items, oldest first, 0 on the left is padding. With
                ``labels`` or ``lengths`` it may be shorter, and padding stands on the right.
            labels: As ``history``, int64: the item that came after each place; 0 is not asked.
            lengths: ``(B,)`` int64, from 1: how many items each row has.
            gaps: As ``history``: how long it was from each item to the next, as ``time_gaps``
                numbers it; of the newest, to the request. ``None``: nothing is known of it.

        Returns:
            ``(B, V + 1)`` logits, of which the first, padding's, means nothing. A row without
            items gets the logarithm of the items' popularity. With ``labels``: the mean
            cross-entropy, ``()``.
        """
        if labels is not None:
            asked = labels > 0
            return self._surprise(self.states_of_begun(history, gaps)[asked], labels[asked] - 1)
        if lengths is not None:
            # In whole precision also while training is not: half of it makes equals of items.
            with torch.autocast(history.device.type, enabled=False):
                rows = torch.arange(len(history), device=history.device)
                states = self.states_of_begun(history, gaps)[rows, lengths - 1]
                return states @ self.items.weight.T + self.bias
        logits = self.states(history, gaps)[:, -1] @ self.items.weight.T + self.bias
        # The newest item stands last, so a row is empty exactly if padding does.
        return torch.where(history[:, -1:] > 0, logits, self.popularity)

    def states(self, history: torch.Tensor, gaps: torch.Tensor | None = None) -> torch.Tensor:
        """Return ``(B, L, D)``: what is known after each place of ``history`` ``(B, L)``."""
        return self._read(history, gaps, self.visible(history))

    def visible(self, history: torch.Tensor) -> torch.Tensor:
        """Return ``(B, 1, L, L)`` bool: what each place of ``history`` ``(B, L)`` reads."""
        # Padding reads itself, so that no place is left without anything to read.
        return ((self.causal & (history > 0)[:, None, :]) | self.own)[:, None]

    def states_of_begun(
        self, history: torch.Tensor, gaps: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the same of ``history`` ``(B, l)``, ``l`` up to ``L``, padded on the right.

        What stands behind a place is not read anyway, so nothing needs to be hidden.
        """
        return self._read(history, gaps, None)

    def entering(self, history: torch.Tensor, gaps: torch.Tensor | None) -> torch.Tensor:
        """Return ``(B, L, D)``: what the first block is given of ``history`` ``(B, L)``."""
        states = self.items(history)
        if self.gaps is not None and gaps is not None:
            states = states + self.gaps(self._partly_hidden(gaps))
        return functional.dropout(states, self.dropout, self.training)

    def _partly_hidden(self, gaps: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return gaps
        drawn = torch.rand((2, *gaps.shape), device=gaps.device)
        return gaps * ((drawn[0] >= _HIDDEN) & (drawn[1, :, :1] >= _HIDDEN))

    def _read(
        self, history: torch.Tensor, gaps: torch.Tensor | None, visible: torch.Tensor | None
    ) -> torch.Tensor:
        places = self.places[:, : history.shape[1]]
        states = self.entering(history, gaps)
        for block in self.blocks:
            states = block(states, places, visible)
        return self.norm(states)

    def _surprise(self, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """``states``: ``(N, D)``. ``labels``: ``(N,)``, from 0."""
        vectors, bias = self.items.weight[1:], self.bias[1:]
        if not 0 < self.negatives < len(vectors):
            return surprise_among_all(states, vectors, bias, labels, self.label_smoothing)
        return surprise_among_drawn(
            states, vectors, bias, labels, self.negatives, self.label_smoothing
        )
