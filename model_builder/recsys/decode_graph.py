"""The step ``decode`` of a release: from items to IDs, as many as are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import spox.opset.ai.onnx.ml.v3 as ml
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, Var, argument, build

from model_builder.export.constants import int32, int64s
from triton_models.signatures import BECAUSE_ITEMS, MAX_ITEMS


def decode_graph(item_ids: Sequence[str], length: int, count: int) -> onnx.ModelProto:
    """Return the graph.

    ``top_items``: ``(B, K)`` int32, 0 is none. ``top_scores``: ``(B, K)`` float32.
    ``because_slots``: ``(B, K, 2)`` int32, -1 is none. ``history_positions``: ``(B, L)`` int32.
    ``item_count``: ``(B, 1)`` int32. The outputs are the line's, ``R`` the greatest
    ``item_count``; a row that asked for fewer ends in places without an item.

    Args:
        item_ids: The catalogue; the item number is the place, from 1.
        length: ``L``.
        count: ``K``.
    """
    top_items = argument(Tensor(np.int32, ("B", count)))
    top_scores = argument(Tensor(np.float32, ("B", count)))
    because_slots = argument(Tensor(np.int32, ("B", count, BECAUSE_ITEMS)))
    history_positions = argument(Tensor(np.int32, ("B", length)))
    item_count = argument(Tensor(np.int32, ("B", 1)))

    wanted = op.clip(item_count, int32(1), int32(MAX_ITEMS))
    width = op.reduce_max(wanted, keepdims=0)  # R
    ranks = op.range(int32(0), width, int32(1))
    items = _first(top_items, width, count, np.int32(0))
    items = op.where(op.less(ranks, wanted), items, int32(0))  # (B, R)
    there = op.greater(items, int32(0))
    item_names = ml.label_encoder(
        op.cast(items, to=np.int64),
        keys_int64s=range(1, len(item_ids) + 1),
        values_strings=item_ids,
        default_string="",
    )
    scores = _first(top_scores, width, count, np.float32(0))
    slots = _first(because_slots, width, count, np.int32(-1))
    # Without an item a slot is empty already; beyond what the row asked for it is not yet.
    slots = op.where(op.unsqueeze(there, int64s(2)), slots, _none())
    return build(
        {
            "top_items": top_items,
            "top_scores": top_scores,
            "because_slots": because_slots,
            "history_positions": history_positions,
            "item_count": item_count,
        },
        {
            "item_ids": item_names,
            "scores": op.where(there, scores, op.const(np.float32(0))),
            "because_positions": _positions(slots, history_positions),
        },
    )


def _first(values: Var, width: Var, count: int, empty: np.generic) -> Var:
    """Return the first ``width`` of axis 1, filled up if a small catalogue has fewer."""
    missing = MAX_ITEMS - count
    if missing:
        rest = [0] * (len(values.unwrap_tensor().shape) - 2)
        pads = int64s(0, 0, *rest, 0, missing, *rest)
        values = op.pad(values, pads, op.const(empty))
    return op.slice(
        values, int64s(0), op.cast(op.reshape(width, int64s(1)), to=np.int64), int64s(1)
    )


def _positions(slots: Var, history_positions: Var) -> Var:
    """Return where in the request's history each slot stands, ``(B, R, 2)``."""
    flat = op.reshape(slots, int64s(0, -1))  # (B, R * 2)
    found = op.gather_elements(history_positions, op.max([flat, int32(0)]), axis=1)
    found = op.where(op.less(flat, int32(0)), _none(), found)
    return op.reshape(found, int64s(0, -1, BECAUSE_ITEMS))


def _none() -> Var:
    return int32(-1)
