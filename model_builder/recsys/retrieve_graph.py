"""The step ``retrieve`` of a release: the items that score highest among the whole catalogue.

Exact: the query is multiplied with every row of the table. A large table is read block by block,
so that what a batch takes does not grow with the catalogue.
"""

from __future__ import annotations

import numpy as np
import onnx
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, Var, argument, build

from model_builder.export.constants import int32, int64s
from model_builder.recsys.item_table import FORBIDDEN, ItemTable

_TABLE = "item_table"


def retrieve_graph(table: ItemTable, shortlist: int) -> onnx.ModelProto:
    """Return the graph.

    ``query``: ``(B, D + 2)`` float32. ``candidates``: ``(B, C)``, ``candidates_given``:
    ``(B, 1)`` and ``excluded``: ``(B, X)`` int32, as of the step ``encode``.

    ``retrieved``: ``(B, P + C)`` int32; of a row with candidates, these as they came, else the
    best ``P`` of the catalogue: what is excluded is still among them, and so many more are taken
    that a full shortlist is left. 0 is none. ``retrieved_scores``: the same in float32.

    Args:
        table: The items.
        shortlist: How many must be left.
    """
    query = argument(Tensor(np.float32, ("B", table.width + 2)))
    candidates = argument(Tensor(np.int32, ("B", "C")))
    candidates_given = argument(Tensor(np.int32, ("B", 1)))
    excluded = argument(Tensor(np.int32, ("B", "X")))
    rows = argument(Tensor(np.float32, tuple(table.rows.shape)))  # (G, S, D + 2)

    most = op.add(op.shape(excluded, start=1, end=2), int64s(shortlist))
    items, scores = _best(query, rows, table, most)  # (B, P)
    only = op.greater(candidates_given, int32(0))
    nothing = op.const(np.float32(FORBIDDEN))
    named = op.where(only, candidates, int32(0))
    named_scores = op.where(op.greater(named, int32(0)), _scores(query, rows, named), nothing)
    model = build(
        {
            "query": query,
            "candidates": candidates,
            "candidates_given": candidates_given,
            "excluded": excluded,
            _TABLE: rows,
        },
        {
            "retrieved": op.concat([op.where(only, int32(0), items), named], axis=1),
            "retrieved_scores": op.concat([op.where(only, nothing, scores), named_scores], axis=1),
        },
    )
    # A weight, which models that are merged can share; as a constant it would be each node's own.
    model.graph.input.pop()
    model.graph.initializer.append(onnx.numpy_helper.from_array(table.as_numpy(), _TABLE))
    return model


def _best(query: Var, rows: Var, table: ItemTable, most: Var) -> tuple[Var, Var]:
    """Return the ``most`` best items of the whole table, int32, and their scores, ``(B, P)``."""
    of_block = op.min([most, int64s(table.size)])
    if len(table.rows) == 1:
        block = op.squeeze(rows, int64s(0))
        scores, items = op.top_k(op.gemm(query, block, transB=1), of_block)
        return op.cast(items, to=np.int32), scores

    def best_of_block(start: Var, block: Var) -> list[Var]:
        scores, places = op.top_k(op.gemm(query, block, transB=1), of_block)
        return [op.add(op.cast(places, to=np.int32), start), scores]

    starts = op.const(np.arange(len(table.rows), dtype=np.int32) * table.size)
    # Winners of each block beside each other: (B, G * P).
    items, scores = (
        op.reshape(op.transpose(each, perm=[1, 0, 2]), op.const(np.array([0, -1])))
        for each in op.scan([starts, rows], body=best_of_block, num_scan_inputs=2)
    )
    scores, places = op.top_k(scores, op.min([most, op.shape(scores, start=1, end=2)]))
    return op.gather_elements(items, places, axis=1), scores


def _scores(query: Var, rows: Var, items: Var) -> Var:
    """Return ``(B, C)``: the scores of some items."""
    size = op.shape(rows, start=1, end=2)
    numbers = op.unsqueeze(op.cast(items, to=np.int64), int64s(2))
    where = op.concat([op.div(numbers, size), op.mod(numbers, size)], axis=2)
    found = op.gather_nd(rows, where)  # (B, C, D + 2)
    return op.squeeze(op.matmul(found, op.unsqueeze(query, int64s(2))), int64s(2))
