"""Finds where a graph turns heads by their places, as rotary positions do.

A head's two halves are turned as points are: ``(x c - y s, x s + y c)``. The exporter writes that
as eight operators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from model_builder.variants.tensors import Known, attribute

_END = 2**31
"""A cut up to here or further goes up to the end."""


@dataclass(frozen=True)
class Turned:
    """One turning of heads."""

    of: str
    """What is turned, ``(…, L, W)``."""
    cosines: str
    """``(P, W / 2)``, constant."""
    sines: str
    start: str | None
    """``(1,)`` int64: which of the ``P`` places is the first; ``None``: the first is."""
    width: int
    """``W``, of a head."""


def turned_by(node: onnx.NodeProto, known: Known) -> Turned | None:
    """Return what a node turns, if it is the last of such a turning."""
    if node.op_type != "Concat" or len(node.input) != 2:
        return None
    minus, plus = (known.makers.get(name) for name in node.input)
    if minus is None or plus is None or (minus.op_type, plus.op_type) != ("Sub", "Add"):
        return None
    products = [_product(name, known) for one in (minus, plus) for name in one.input]
    found = [one for one in products if one is not None]
    if len(found) < len(products):
        return None
    for a, b, c, d in _orders(found):
        (x, cosine), (y, sine) = a, b
        if set(c) == {x, sine} and set(d) == {y, cosine}:
            return _turned(node, (x, y), (cosine, sine), known)
    return None


_Pair = tuple[str, str]


def _orders(products: list[_Pair]) -> list[tuple[_Pair, _Pair, _Pair, _Pair]]:
    """Return the products with their factors and, of the sum, their places both ways."""
    a, b, c, d = products
    return [
        (first, second, third, fourth)
        for first in (a, a[::-1])
        for second in (b, b[::-1])
        for third, fourth in ((c, d), (d, c))
    ]


def _product(name: str, known: Known) -> _Pair | None:
    maker = known.made_by(name, "Mul")
    return None if maker is None else (maker.input[0], maker.input[1])


def _turned(node: onnx.NodeProto, halves: _Pair, tables: _Pair, known: Known) -> Turned | None:
    split = known.made_by(halves[0], "Split")
    if split is None or tuple(split.output) != halves:
        return None
    rank = len(known.sizes.get(split.output[0], ()))
    axes = {int(attribute(one, "axis", 0)) % max(rank, 1) for one in (node, split)}
    cosines, sines = (_table(name, known) for name in tables)
    if rank < 2 or axes != {rank - 1} or cosines is None or sines is None:
        return None
    sizes = {known.sizes.get(table) for table, _ in (cosines, sines)}
    size = next(iter(sizes))
    if len(sizes) > 1 or size is None or len(size) != 2 or not isinstance(size[1], int):
        return None
    if cosines[1] != sines[1] or known.sizes[halves[0]][-1] != size[1]:
        return None
    if size[0] == 1 and known.sizes[halves[0]][-2] != 1:
        return None  # all places are turned alike
    return Turned(split.input[0], cosines[0], sines[0], cosines[1], 2 * size[1])


def _table(name: str, known: Known) -> tuple[str, str | None] | None:
    """Return a constant, and from which of its rows on it is read."""
    if known.constant(name) is not None:
        return name, None
    maker = known.made_by(name, "Slice")
    if maker is None or known.constant(maker.input[0]) is None:
        return None
    ends, axes = (known.constant(one) for one in maker.input[2:4])
    if len(maker.input) != 4 or ends is None or axes is None:
        return None
    if not np.array_equal(axes, [0]) or ends[0] < _END:
        return None
    return maker.input[0], maker.input[1]
