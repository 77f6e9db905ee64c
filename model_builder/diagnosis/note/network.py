"""Networks on tokens whose last layer is linear in what they see at each token.

So the shares of the tokens add up to the logits exactly, whatever is below the last layer: a small
encoder that is trained from nothing, or a pretrained model (``base``).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional


class Seen(NamedTuple):
    """What a network makes of notes."""

    logits: torch.Tensor
    """``(B, K)``."""
    shares: torch.Tensor
    """``(B, T, K)``: what each token adds to each logit, but for a constant; 0 at padding."""
    features: torch.Tensor
    """``(B, D)``: what the last layer sees."""


class NoteNetwork(nn.Module):
    """An encoder, the mean over its tokens, and a linear head."""

    def __init__(self, encoder: nn.Module, width: int, classes: int, dropout: float) -> None:
        """Put a head that is not trained on ``encoder``.

        Args:
            encoder: Gives ``(B, T, D)`` of tokens and mask, int64 ``(B, T)`` each.
            width: D.
            classes: K.
            dropout: Before the head.
        """
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, token_ids: torch.Tensor, attention_mask: torch.Tensor) -> Seen:
        """Return what is seen in notes.

        Args:
            token_ids: ``(B, T)`` int32 or int64; padding is anything.
            attention_mask: ``(B, T)``: 1 where there is a token, 0 at padding.
        """
        mask = attention_mask.long()
        states = self.encoder(token_ids.long() * mask, mask)  # (B, T, D)
        weights = mask.to(states.dtype)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)  # (B, T)
        weighted = states * weights[:, :, None]
        features = weighted.sum(1)
        shares = functional.linear(weighted, self.head.weight)
        return Seen(self.head(self.dropout(features)), shares, features)


class SmallEncoder(nn.Module):
    """Embeddings, and any number of convolutions that let each token see its neighbours."""

    def __init__(
        self, vocabulary: int, width: int, layers: int, dropout: float, word_dropout: float
    ) -> None:
        super().__init__()
        self.word_dropout = word_dropout
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.blocks = nn.ModuleList([_Block(width, dropout) for _ in range(layers)])

    def forward(self, token_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return ``(B, T, D)`` of ``(B, T)`` each."""
        there = attention_mask.to(self.embedding.weight.dtype)[:, :, None]
        states = self.embedding(token_ids) * there
        if self.training and self.word_dropout:
            kept = torch.rand(token_ids.shape, device=states.device) >= self.word_dropout
            states = states * kept[:, :, None]
        for block in self.blocks:
            states = block(states, there)
        return states


class _Block(nn.Module):
    """What a token and its two neighbours say together is added to what it said alone."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.near = nn.Conv1d(width, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Linear(width, width)

    def forward(self, states: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Return ``(B, T, D)``; padding stays 0, as if there were nothing."""
        seen = self.norm(states) * there
        seen = functional.gelu(self.near(seen.transpose(1, 2)).transpose(1, 2))
        return states + self.mix(self.dropout(seen)) * there
