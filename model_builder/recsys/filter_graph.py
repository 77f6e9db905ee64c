"""The step ``filter`` of a release: of what was retrieved, the best that may be recommended."""

from __future__ import annotations

import numpy as np
import onnx
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, Var, argument, build

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
    there = op.add(op.mul(retrieved, _int(2)), _int(1))
    nobody = op.expand(
        _int(0), op.concat([op.shape(retrieved, end=1), _vector(shortlist)], axis=0)
    )  # so that there are always enough to take N of
    marked = op.concat([op.mul(excluded, _int(2)), there, nobody], axis=1)
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
    items = op.div(keys, _int(2))
    before = op.concat(
        [
            op.expand(_int(0), op.concat([op.shape(items, end=1), _vector(1)], axis=0)),
            op.slice(items, _vector(0), _vector(-1), _vector(1)),
        ],
        axis=1,
    )
    stays = op.and_(op.not_(op.equal(items, before)), op.equal(op.mod(keys, _int(2)), _int(1)))
    best, places = op.top_k(op.where(stays, scores, nothing), _vector(shortlist))
    left = op.greater(best, op.const(np.float32(FORBIDDEN / 2)))
    found = op.gather_elements(items, places, axis=1)
    return build(
        {"retrieved": retrieved, "retrieved_scores": retrieved_scores, "excluded": excluded},
        {
            "shortlist": op.where(left, found, _int(0)),
            "shortlist_scores": op.where(left, best, nothing),
        },
    )


def _int(value: int) -> Var:
    return op.const(np.int32(value))


def _vector(value: int) -> Var:
    return op.const(np.array([value], np.int64))
