"""Small networks that read histories, as the step ``history`` of a recommender does."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import torch
from torch import nn

from model_builder.export.onnx import export_core, serialised
from model_builder.export.running import OnnxModel
from model_builder.recsys.item_table import ItemTable
from model_builder.recsys.querying import Query
from model_builder.recsys.transformer import NextItemNetwork

ITEMS, LENGTH = 30, 10
LONG = 70
"""Places of which several steps can be cut."""


class OfAllPlaces(Query):
    """What a history is made into, with all places computed for the last: as releases once were."""

    def forward(self, history: torch.Tensor) -> torch.Tensor:
        return self.network.states(history)[:, -1]


def query(
    *,
    layers: int = 2,
    heads: int = 2,
    block: int = 100,
    length: int = LENGTH,
    kind: type[Query] = OfAllPlaces,
) -> onnx.ModelProto:
    return onnx.load_from_string(_exported(layers, heads, block, length, kind))


@cache
def _exported(layers: int, heads: int, block: int, length: int, kind: type[Query]) -> bytes:
    """Exporting takes a second, and many tests look at the same network."""
    torch.manual_seed(3)
    counts = torch.arange(ITEMS + 1)
    network = NextItemNetwork(
        counts, width=16, layers=layers, heads=heads, history_length=length, dropout=0.0
    )
    nn.init.normal_(network.items.weight)
    module = kind(network, ItemTable.of(network, block)).eval()
    history = torch.ones(2, length, dtype=torch.int32)
    return serialised(export_core(module, {"history": history}, ["query"]))


def histories(rows: int = 40, length: int = LENGTH) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(5)
    found = draws.integers(1, ITEMS + 1, (rows, length)).astype(np.int32)
    for row in range(rows):
        found[row, : row % (length + 1)] = 0  # some are short, some empty
    return {"history": found}


def answer(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return OnnxModel(serialised(model)).run(inputs)
