"""All that is known of the items, in one table that every step of a release reads.

A row is ``[vector (D), bias, popularity]``, a query ``[state (D), 1, 0]`` or, of an empty
history, ``[0 …, 0, 1]``: so one product gives what the network gives, bias and prior included. The
rows lie in blocks, which bound what one scoring takes, and are found by block and place: ONNX
Runtime then keeps one copy, however many parts of the fused model read it.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from model_builder.recsys.transformer import NextItemNetwork

FORBIDDEN = -3e4
"""The score of what is no item, or may not be recommended; half precision can hold it."""

BLOCK = 65_536
"""Rows of a block: a thousand requests have their scores in a quarter of a gigabyte."""


def table_bytes(items: int, width: int, block: int = BLOCK) -> int:
    """Return how many bytes the table of so many items takes, whole blocks of float32."""
    size = min(block, items + 1)
    return -(-(items + 1) // size) * size * (width + 2) * 4


class ItemTable(nn.Module):
    """Finds items by their number.

    Letters: ``V`` catalogue, ``D`` width, ``G`` blocks, ``S`` rows of a block.
    """

    rows: torch.Tensor
    """``(G, S, D + 2)`` float32; what is no item scores ``FORBIDDEN``."""

    def __init__(self, rows: torch.Tensor, count: int) -> None:
        """Take ``rows``, and ``count``, the ``V`` items that are in them from place 1 on."""
        super().__init__()
        self.count = count
        self.width = rows.shape[2] - 2
        self.size = rows.shape[1]
        self.register_buffer("rows", rows)

    @classmethod
    def of(cls, network: NextItemNetwork, block: int = BLOCK) -> ItemTable:
        """Return the table of a trained network, ``block`` rows in each block."""
        with torch.no_grad():
            bias = network.bias.detach().float()
            vectors = network.items(torch.arange(len(bias)))
        count, width = len(bias) - 1, vectors.shape[1]
        size = min(block, count + 1)
        blocks = -(-(count + 1) // size)
        flat = torch.zeros(blocks * size, width + 2)
        flat[:, width:] = FORBIDDEN
        flat[: count + 1, :width] = vectors
        flat[1 : count + 1, width] = bias[1:]
        flat[1 : count + 1, width + 1] = network.popularity[1:]
        return cls(flat.reshape(blocks, size, width + 2), count)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Return ``(…, D + 2)``: the rows of ``items`` ``(…)``, integers."""
        numbers = items.long()
        places = numbers % self.size
        # No number is negative. Rounding down, which `//` is, would become a dozen nodes, one of
        # which compares truths, and TensorRT does not. This divides as float32, which has whole
        # blocks exactly, however many.
        blocks = torch.div(numbers - places, self.size, rounding_mode="trunc")
        return self.rows[blocks, places]

    @property
    def flat(self) -> torch.Tensor:
        """``(V + 1, D + 2)``, by number; a view."""
        return self.rows.reshape(-1, self.width + 2)[: self.count + 1]

    def as_numpy(self) -> npt.NDArray[np.float32]:
        """Return ``rows``."""
        return cast("npt.NDArray[np.float32]", self.rows.numpy())


class ItemVectors(nn.Module):
    """Stands in for the embedding of a network: the same vectors, from the table."""

    def __init__(self, table: ItemTable) -> None:
        super().__init__()
        self.table = table

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Return ``(…, D)``: the vectors of ``items`` ``(…)``."""
        return self.table(items)[..., : self.table.width]
