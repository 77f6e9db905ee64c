"""The step ``filter`` of a release: of what was retrieved, the best that may be recommended."""

from __future__ import annotations

import numpy as np
import onnx
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, argument, build

from model_builder.export.constants import int32, int64s
from model_builder.recsys.item_table import FORBIDDEN


def filter_graph(shortlist: int) -> onnx.ModelProto:
    """Return the graph.

    ``retrieved``: ``(B, P)`` int32 items, 0 is none, any of them more than once;
    ``retrieved_scores``: ``(B, P)`` float32. ``excluded``: ``(B, X)`` int32, 0 is none.

    ``shortlist``: ``(B, N)`` int32, each item once, best first, 0 where none is left.
    ``shortlist_scores``: ``(B, N)`` float32, ``FORBIDDEN`` where none is left.

    Args:
        shortlist: ``N``; more than are retrieved ends in places without an item.
    """
    retrieved = argument(Tensor(np.int32, ("B", "P")))
    retrieved_scores = argument(Tensor(np.float32, ("B", "P")))
    excluded = argument(Tensor(np.int32, ("B", "X")))

    nothing = op.const(np.float32(FORBIDDEN))
    # In order of the item, where it is excluded before where it was retrieved: an item stays if
    # none like it stands before. So the work does not grow with retrieved times excluded.
    there = op.add(op.mul(retrieved, int32(2)), int32(1))
    nobody = op.expand(
        int32(0), op.concat([op.shape(retrieved, end=1), int64s(shortlist)], axis=0)
    )  # so that there are always enough to take N of
    marked = op.concat([op.mul(excluded, int32(2)), there, nobody], axis=1)
    keys, places = op.top_k(marked, op.shape(marked, start=1, end=2), largest=0)
    scores = op.concat(
        [
            op.expand(nothing, op.shape(excluded)),
            retrieved_scores,
            op.expand(nothing, op.shape(nobody)),
        ],
        axis=1,
    )
    scores = op.gather_elements(scores, places, axis=1)
    items = op.div(keys, int32(2))
    before = op.concat(
        [
            op.expand(int32(0), op.concat([op.shape(items, end=1), int64s(1)], axis=0)),
            op.slice(items, int64s(0), int64s(-1), int64s(1)),
        ],
        axis=1,
    )
    stays = op.and_(op.not_(op.equal(items, before)), op.equal(op.mod(keys, int32(2)), int32(1)))
    best, places = op.top_k(op.where(stays, scores, nothing), int64s(shortlist))
    left = op.greater(best, op.const(np.float32(FORBIDDEN / 2)))
    found = op.gather_elements(items, places, axis=1)
    return build(
        {"retrieved": retrieved, "retrieved_scores": retrieved_scores, "excluded": excluded},
        {
            "shortlist": op.where(left, found, int32(0)),
            "shortlist_scores": op.where(left, best, nothing),
        },
    )
