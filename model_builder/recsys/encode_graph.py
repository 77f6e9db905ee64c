"""The step ``encode`` of a release: from IDs to items of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import spox.opset.ai.onnx.ml.v3 as ml
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, Var, argument, build

from model_builder.export.constants import int32, int64s
from model_builder.recsys.time_gaps import BOUNDS

_UNKNOWN = -1


def encode_graph(
    item_ids: Sequence[str], length: int, *, time_gaps: bool = False
) -> onnx.ModelProto:
    """Return the graph; its inputs are those of the line but ``item_count`` and the context's.

    Outputs, all integers int32 and 0 for no item:
        ``history``: ``(B, L)``, the newest ``L`` known items, oldest first, on the right.
        ``history_positions``: ``(B, L)``, where each stands in ``history_item_ids``, else -1.
        ``history_gaps``: ``(B, L)``, how long it was from each to the next one, or the request,
        as ``time_gaps`` numbers it; only if they are read.
        ``candidates``: ``(B, C)``.
        ``candidates_given``: ``(B, 1)``, 1 if there is any candidate, even an unknown one.
        ``excluded``: ``(B, X + T)``, also the whole history unless it is allowed.
        ``history_known``, ``candidate_known``, ``excluded_known``: bool, true for padding.

    Args:
        item_ids: The catalogue; the item number is the place, from 1.
        length: ``L``.
        time_gaps: Whether ``history_times`` and ``request_time`` are read.
    """
    history_ids = argument(Tensor(np.str_, ("B", "T")))
    candidate_ids = argument(Tensor(np.str_, ("B", "C")))
    excluded_ids = argument(Tensor(np.str_, ("B", "X")))
    history_allowed = argument(Tensor(np.bool_, ("B", 1)))

    history, candidates, excluded = _all_numbers(
        (history_ids, candidate_ids, excluded_ids), item_ids
    )
    slot = _slots(history, length)
    newest = _compacted(history, slot, 0, length)
    inputs, outputs = {}, {}
    if time_gaps:
        times = argument(Tensor(np.int64, ("B", "T")))
        asked_at = argument(Tensor(np.int64, ("B", 1)))
        inputs = {"history_times": times, "request_time": asked_at}
        moments = _compacted(times, slot, 0, length)
        # What stands after the newest is the request; before the first of a row, nothing.
        following = op.concat([_part(moments, 1, length), asked_at], axis=1)
        outputs = {"history_gaps": _gaps(moments, following)}
    given = op.cast(op.not_(op.equal(candidates, int32(0))), to=np.int32)
    past = op.where(history_allowed, int32(0), _items(history))
    return build(
        {
            "history_item_ids": history_ids,
            "candidate_item_ids": candidate_ids,
            "excluded_item_ids": excluded_ids,
            "history_allowed": history_allowed,
            **inputs,
        },
        {
            "history": newest,
            "history_positions": _compacted(_positions(history), slot, -1, length),
            **outputs,
            "candidates": _items(candidates),
            "candidates_given": op.reduce_max(given, int64s(1), keepdims=1),
            "excluded": op.concat([_items(excluded), past], axis=1),
            "history_known": _known(history),
            "candidate_known": _known(candidates),
            "excluded_known": _known(excluded),
        },
    )


def _all_numbers(parts: Sequence[Var], item_ids: Sequence[str]) -> list[Var]:
    """Return the numbers of each part, looked up together: one dictionary, however large."""
    numbers = _numbers(op.concat(parts, axis=1), item_ids)
    found, begin = [], int64s(0)
    for part in parts:
        end = op.add(begin, op.shape(part, start=1, end=2))
        found.append(op.slice(numbers, begin, end, int64s(1)))
        begin = end
    return found


def _numbers(ids: Var, item_ids: Sequence[str]) -> Var:
    """Return int32 of the same shape: 0 for ``''``, -1 for an ID outside the catalogue."""
    numbers = ml.label_encoder(
        ids,
        keys_strings=["", *item_ids],
        values_int64s=range(len(item_ids) + 1),
        default_int64=_UNKNOWN,
    )
    return op.cast(numbers, to=np.int32)


def _known(numbers: Var) -> Var:
    return op.greater_or_equal(numbers, int32(0))


def _items(numbers: Var) -> Var:
    return op.max([numbers, int32(0)])


def _slots(history: Var, length: int) -> Var:
    """Return ``(B, T)`` int32: where among the newest ``L`` each known item goes, ``L`` else."""
    is_item = op.greater(history, int32(0))
    # Of each item: how many there are from here to the end; 1 for the newest.
    age = op.cumsum(op.cast(is_item, to=np.int32), int32(1), reverse=1)
    fits = op.and_(is_item, op.less_or_equal(age, int32(length)))
    return op.where(fits, op.sub(int32(length), age), int32(length))


def _positions(history: Var) -> Var:
    """Return ``(B, T)`` int32: where each stands, from 0."""
    places = op.range(
        op.const(np.int64(0)), op.squeeze(op.shape(history, start=1, end=2)), op.const(np.int64(1))
    )
    return op.expand(op.cast(places, to=np.int32), op.shape(history))


def _compacted(values: Var, slot: Var, empty: int, length: int) -> Var:
    """Return ``(B, L)``: the values at their slots, ``empty`` where none is."""
    # One place more than wanted takes all that is not wanted, and is cut off.
    shape = op.concat([op.shape(values, start=0, end=1), int64s(length + 1)], axis=0)
    dtype = values.unwrap_tensor().dtype.type
    room = op.expand(op.const(dtype(empty)), shape)
    return _part(op.scatter_elements(room, slot, values, axis=1), 0, length)


def _part(values: Var, begin: int, end: int) -> Var:
    """Return columns ``begin`` to ``end``, exclusive."""
    return op.slice(values, int64s(begin), int64s(end), int64s(1))


def _gaps(before: Var, after: Var) -> Var:
    """Return ``(B, L)`` int32, the numbers of the gaps between moments, each ``(B, L)`` int64."""
    known = op.and_(
        op.greater(before, op.const(np.int64(0))), op.greater(after, op.const(np.int64(0)))
    )
    passed = op.greater_or_equal(op.unsqueeze(op.sub(after, before), int64s(2)), op.const(BOUNDS))
    number = op.reduce_sum(op.cast(passed, to=np.int32), int64s(2), keepdims=0)
    return op.where(known, op.add(number, int32(1)), int32(0))
