"""Which rows of a model are run at once: so few that what lies between its nodes stays small.

A transformer that reads 200 items holds nine megabytes for each row while it runs, so a batch of
1,000 takes as many gigabytes. In blocks it takes less time, too: what is in the cache is nearer.

A model that computes as much as the longest row of a batch needs may say so (``ALIKE``): then rows
of like length are run together, and short ones do not wait for the longest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[Mapping[str, Array]], Sequence[Array]]

FEWEST = 32
"""Rows that are never split: it would cost more than it spares."""
ALIKE = "rows_of_like_length"
"""Key of a model's metadata: the inputs that tell how long a row is, by how much of them is not
empty, with ``,`` between them."""
ALIKE_ROWS = 8
"""Rows of like length that are run together."""
_MOST_BYTES = 32 * 1024 * 1024
"""Of the largest tensor between two nodes; ONNX Runtime holds several of its size."""
_NUMBER_BYTES = 4
_LARGE_WEIGHTS = 1024
"""Bytes; what has fewer can be a size that others follow from."""


class RowBlocks:
    """Runs a model's rows in blocks where that spares memory.

    Args:
        model: Its file, or what is in one; looked at when many rows come first.
        metadata: What the model says of itself.
    """

    def __init__(self, model: str | bytes, metadata: Mapping[str, str] | None = None) -> None:
        self._alike = tuple(filter(None, (metadata or {}).get(ALIKE, "").split(",")))
        self._size: Callable[[], int | None] = cache(partial(rows_at_once, model))

    def run(self, run: Run, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Return the outputs.

        Args:
            run: Gives the outputs of some rows, each ``(rows, …)``.
            feeds: The inputs, each ``(rows, …)``.
        """
        rows = len(next(iter(feeds.values()), ()))
        telling = [feeds[name] for name in self._alike if name in feeds]
        if rows > ALIKE_ROWS and telling:
            values = run_in_blocks(run, feeds, ALIKE_ROWS, by_length(telling))
            if values is not None:
                return values
            self._alike = ()
        size = self._size() if rows > FEWEST else None
        if size is not None and size < rows:
            values = run_in_blocks(run, feeds, size)
            if values is not None:
                return values
            self._size = lambda: None
        return run(feeds)


def by_length(inputs: Sequence[Array]) -> Array:
    """Return the places of rows, the shortest first, ``(B,)``.

    Args:
        inputs: Each ``(B, …)``; 0 or ``""`` is nothing.
    """
    lengths: Array = np.zeros(len(inputs[0]), np.int64)
    for rows in inputs:
        there = rows.reshape(len(rows), -1) != ("" if rows.dtype == np.object_ else 0)
        lengths += np.count_nonzero(there, axis=1)
    return np.argsort(lengths, kind="stable")


def rows_at_once(model: str | bytes) -> int | None:
    """Return the rows of a block for a model, a file or what is in one; ``None``: any number.

    Only sizes that the model says count: a tensor as wide as the longest history of a request, say,
    is taken to be small.
    """
    import onnx  # takes a while, and most models are never asked for so many rows

    loaded = onnx.load(model) if isinstance(model, str) else onnx.load_from_string(model)
    for weights in loaded.graph.initializer:
        if len(weights.raw_data) > _LARGE_WEIGHTS:  # only their sizes are asked for
            weights.ClearField("raw_data")
    _leave_whole(loaded.graph)
    shown = onnx.shape_inference.infer_shapes(loaded).graph
    largest = max((_numbers_of_row(value.type) for value in shown.value_info), default=0)
    if not largest:
        return None
    return max(FEWEST, _MOST_BYTES // (_NUMBER_BYTES * largest))


def _leave_whole(graph: Any) -> None:
    """Have a graph not cut by what a request holds, so that sizes are told and are the greatest."""
    known = {weights.name for weights in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            known.update(node.output)
        elif node.op_type == "Slice" and not known.issuperset(node.input[1:3]):
            node.op_type = "Identity"
            del node.input[1:]


def _numbers_of_row(type_: Any) -> int:
    """Return how many numbers a tensor has for each row; 0 if it has no rows, or nobody knows."""
    first, *others = type_.tensor_type.shape.dim or [None]
    if first is None or first.HasField("dim_value"):
        return 0
    return math.prod(size.dim_value for size in others)


def run_in_blocks(
    run: Run, feeds: Mapping[str, Array], size: int, order: Array | None = None
) -> list[Array] | None:
    """Return what the rows give, run in blocks of at most ``size`` each.

    Args:
        run: Gives the outputs of some rows.
        feeds: Tensors ``(rows, …)``.
        size: At least 1.
        order: ``(rows,)`` places, in which order they are run; outputs are in that of ``feeds``.

    Returns:
        ``None`` if the outputs cannot be joined, since not all have the rows first.
    """
    rows = len(next(iter(feeds.values())))
    count = math.ceil(rows / size)
    ends = [rows * (block + 1) // count for block in range(count)]  # of equal size, but for one row
    parts: list[Sequence[Array]] = []
    start = 0
    for end in ends:
        taken = slice(start, end) if order is None else order[start:end]
        part = run({name: value[taken] for name, value in feeds.items()})
        if any(not value.ndim or len(value) != end - start for value in part):
            return None
        parts.append(part)
        start = end
    try:
        values = [np.concatenate(values) for values in zip(*parts, strict=True)]
    except ValueError:  # as wide as the widest of their block
        return None
    if order is None:
        return values
    back = np.argsort(order)
    return [value[back] for value in values]
