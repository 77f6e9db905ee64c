"""The networks that `credit_models.py` compares with the one that ships.

Each takes the prepared columns ``(B, D)`` and gives ``(M, B, 1)``, one network for each group.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from model_builder.risk.config import RiskConfig
from model_builder.tabular.packed import Signs


class Side(nn.Module):
    """Networks side by side."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.members = len(networks)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map ``(B, D)`` to ``(M, B, 1)``."""
        return torch.stack([network(inputs) for network in self.networks])


class Tokens(nn.Module):
    """One vector for each feature: a linear map of its own columns."""

    def __init__(self, owners: npt.NDArray[np.bool_], width: int) -> None:
        super().__init__()
        self.register_buffer("owners", torch.from_numpy(owners).float()[:, :, None])  # (F, D, 1)
        self.weight = nn.Parameter(torch.randn(owners.shape[1], width) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(owners.shape[0], width))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map ``(B, D)`` to ``(B, F, H)``."""
        return torch.einsum("bd,fdh->bfh", inputs, self.owners * self.weight) + self.bias


class Transformer(nn.Module):
    """FT-Transformer (Gorishniy et al. 2021): features are tokens, a token of its own answers."""

    def __init__(self, owners: npt.NDArray[np.bool_], width: int, dropout: float) -> None:
        super().__init__()
        self.tokens = Tokens(owners, width)
        self.answer = nn.Parameter(torch.zeros(1, 1, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout, batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map ``(B, D)`` to ``(B, 1)``."""
        tokens = self.tokens(inputs)
        first = self.answer.expand(len(tokens), -1, -1)
        return self.leave(self.norm(self.body(torch.cat([first, tokens], dim=1))[:, 0]))


class Periodic(nn.Module):
    """Residual MLP on periodic embeddings of the scaled quantities (Gorishniy et al. 2022)."""

    def __init__(self, columns: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.randn(columns, 8) * 0.5)
        self.embed = nn.Parameter(torch.randn(columns, 17, 8) / math.sqrt(17))
        self.enter = nn.Linear(columns * 8, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 2 * width),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(2 * width, width),
            )
            for _ in range(depth)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map ``(B, D)`` to ``(B, 1)``."""
        waves = 2 * math.pi * inputs[..., None] * self.frequency  # (B, D, 8)
        seen = torch.cat([inputs[..., None], waves.sin(), waves.cos()], dim=2)
        hidden = self.enter(torch.relu(torch.einsum("bde,deh->bdh", seen, self.embed)).flatten(1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.leave(hidden)


class Contender(RiskConfig):
    """Trains another network by the same loop, on the same splits."""

    kind: str = "transformer"
    owners: ClassVar[npt.NDArray[np.bool_]] = np.zeros((0, 0), np.bool_)
    """``(F, D)``, of the fold that is trained; set before each."""

    def pieces_for(self, rows: int) -> int:
        """Return no pieces where the network embeds by itself."""
        return 0 if self.kind == "periodic" else super().pieces_for(rows)

    def network_for(  # type: ignore[override]
        self, rows: int, groups: int, columns: int, logits: int, signs: Signs
    ) -> nn.Module:
        """Return a network for each group."""
        if self.kind == "transformer":
            return Side([Transformer(self.owners, 32, 0.2) for _ in range(groups)])
        width, depth = self.width_for(rows), self.depth
        return Side([Periodic(columns, width, depth, self.dropout) for _ in range(groups)])
