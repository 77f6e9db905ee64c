"""The step ``history`` of a release: from the items that somebody had to a query."""

from __future__ import annotations

import copy

import torch
from torch import nn

from model_builder.recsys.item_table import ItemTable, ItemVectors
from model_builder.recsys.transformer import NextItemNetwork


class Query(nn.Module):
    """Reads a history; its product with a row of the table is the item's score.

    Letters: ``B`` rows, ``L`` history length, ``D`` width.
    """

    def __init__(self, network: NextItemNetwork, table: ItemTable) -> None:
        super().__init__()
        items = network.items
        try:  # the copy shall not hold the vectors that the table has
            network.items = nn.Identity()
            self.network = copy.deepcopy(network)
        finally:
            network.items = items
        self.network.items = ItemVectors(table)

    def forward(self, history: torch.Tensor) -> torch.Tensor:
        """Return ``(B, D + 2)`` float32.

        Args:
            history: ``(B, L)`` integers: items, oldest first, 0 on the left is padding.
        """
        state = self.network.states(history)[:, -1]
        # The newest item stands last, so a row is empty exactly if padding does.
        known = (history[:, -1:] > 0).to(state.dtype)
        return torch.cat([state * known, known, 1 - known], dim=1)

    def of_begun(self, history: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the same, ``(B, D + 2)`` float32, with less to compute.

        Args:
            history: ``(B, l)`` integers, ``l`` up to ``L``, oldest first, padded on the right.
            lengths: ``(B,)`` int64, from 1: how many items each row has.
        """
        states = self.network.states_of_begun(history)
        state = states[torch.arange(len(history)), lengths - 1]
        return torch.cat([state, state.new_tensor([1.0, 0.0]).expand(len(state), 2)], dim=1)
