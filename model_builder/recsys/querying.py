"""The step ``history`` of a release: from the items that somebody had to a query."""

from __future__ import annotations

import copy

import torch
from torch import nn

from model_builder.recsys.item_table import ItemTable, ItemVectors
from model_builder.recsys.rotary import turned
from model_builder.recsys.transformer import Block, NextItemNetwork, looked_up


class NewestPlace(nn.Module):
    """The last block of a network for the newest place alone, since nothing else of it is read.

    The others are only looked at: they need keys and values, but no query, no output and no inner
    network, which are three quarters of the block. Shares the block's weights.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block
        width = block.attention_out.in_features
        self.query = _rows(block.query_key_value, slice(width))
        self.key_value = _rows(block.query_key_value, slice(width, None))

    def forward(
        self, states: torch.Tensor, places: torch.Tensor, known: torch.Tensor
    ) -> torch.Tensor:
        """Return ``(B, D)``: what the block makes of the newest place.

        Args:
            states: ``(B, L, D)``.
            places: ``(2, L, D / H / 2)``, how far each place is turned.
            known: ``(B, L)`` bool, where there is an item. A row without any gets numbers that
                mean nothing.
        """
        heads, width = self.block.heads, states.shape[-1]
        seen = self.block.attention_norm(states)
        newest = self.query(seen[:, -1:]).unflatten(-1, (heads, width // heads))
        parts = self.key_value(seen).unflatten(-1, (2, heads, width // heads))
        key, value = parts.permute(2, 0, 3, 1, 4)  # (B, H, L, D / H) each
        query = turned(newest.transpose(1, 2), places[:, -1:])
        read = looked_up(query, turned(key, places), value, known[:, None, None, :])
        read = self.block.attention_out(read.transpose(1, 2).flatten(2))
        return self.block.read_on(states[:, -1:], read)[:, 0]


def _rows(layer: nn.Linear, which: slice) -> nn.Linear:
    """Return the layer that makes some of what ``layer`` makes, with the same weights."""
    weight, bias = layer.weight.detach()[which], layer.bias.detach()[which]
    part = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    part.weight, part.bias = nn.Parameter(weight), nn.Parameter(bias)
    return part


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
        last = self.network.blocks[-1]
        assert isinstance(last, Block)
        self.newest = NewestPlace(last)

    def forward(
        self, history: torch.Tensor, history_gaps: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return ``(B, D + 2)`` float32.

        Args:
            history: ``(B, L)`` integers: items, oldest first, 0 on the left is padding.
            history_gaps: As ``history``: how long it was from each item to the next, or to the
                request; ``None``: nothing is known of it.
        """
        network = self.network
        states, visible = network.entering(history, history_gaps), network.visible(history)
        for block in network.blocks[:-1]:
            states = block(states, network.places, visible)
        there = history > 0
        state = network.norm(self.newest(states, network.places, there))
        # The newest item stands last, so a row is empty exactly if padding does.
        known = there[:, -1:].to(state.dtype)
        return torch.cat([state * known, known, 1 - known], dim=1)

    def of_begun(
        self, history: torch.Tensor, lengths: torch.Tensor, gaps: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the same, ``(B, D + 2)`` float32, with less to compute.

        Args:
            history: ``(B, l)`` integers, ``l`` up to ``L``, oldest first, padded on the right.
            lengths: ``(B,)`` int64, from 1: how many items each row has.
            gaps: As for :meth:`forward`.
        """
        states = self.network.states_of_begun(history, gaps)
        state = states[torch.arange(len(history)), lengths - 1]
        return torch.cat([state, state.new_tensor([1.0, 0.0]).expand(len(state), 2)], dim=1)
