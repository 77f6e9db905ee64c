"""Finds where the numbers of a tensor stood before they were laid out anew.

Between a layer and attention stand reshapes, transposes and cuts. What they do together is found by
running them on the places of the numbers themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from model_builder.variants.rotary_nodes import Turned, turned_by
from model_builder.variants.tensors import Known

LAYOUTS = frozenset({"Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
_ROWS = 2
_SOME = (3, 1)
"""Places to try with where their number varies: some, or the last alone."""
_Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """Heads, as columns of what a layer made."""

    of: str
    """``(B, L, N)``."""
    start: int
    width: int
    """Of all heads together."""
    heads: int
    turned: Turned | None = None
    """How they were turned on the way."""


def columns_of(name: str, known: Known, *, swapped: bool = False) -> Columns | None:
    """Return which columns a tensor ``(B, H, L, W)`` is, if it is some of one tensor.

    Args:
        name: Of the tensor.
        known: Of its graph.
        swapped: It is ``(B, H, W, L)``.
    """
    chain, turned, source = _way_to(name, known)
    sizes = known.sizes.get(source)
    if sizes is None or len(sizes) != 3 or not isinstance(sizes[2], int):
        return None
    for places in [sizes[1]] if isinstance(sizes[1], int) else _SOME:
        given = np.arange(_ROWS * places * sizes[2]).reshape(_ROWS, places, sizes[2])
        found = _run(chain, source, name, given, known)
        if found is None or found.ndim != 4:
            continue
        found = found.swapaxes(2, 3) if swapped else found
        heads, start, width = found.shape[1], int(found.flat[0]), found.shape[1] * found.shape[3]
        columns = given[:, :, start : start + width]
        if columns.shape[2] < width:
            continue
        wanted = columns.reshape(_ROWS, places, heads, -1).transpose(0, 2, 1, 3)
        if np.array_equal(wanted, found):
            return Columns(source, start, width, heads, turned)
    return None


def joins_heads(chain: list[onnx.NodeProto], heads: int, known: Known) -> bool:
    """Say whether nodes lay ``(B, H, L, W)`` out as ``(B, L, H W)``."""
    sizes = known.sizes.get(chain[0].input[0], ())
    if len(sizes) != 4 or not isinstance(sizes[3], int):
        return False
    places = sizes[2] if isinstance(sizes[2], int) else _SOME[0]
    shape = (_ROWS, heads, places, sizes[3])
    given = np.arange(np.prod(shape)).reshape(shape)
    found = _run(chain, chain[0].input[0], chain[-1].output[0], given, known)
    wanted = given.transpose(0, 2, 1, 3).reshape(_ROWS, places, -1)
    return found is not None and np.array_equal(wanted, found)


def _way_to(name: str, known: Known) -> tuple[list[onnx.NodeProto], Turned | None, str]:
    """Return the nodes that lay out a tensor, in their order, and what they lay out."""
    chain: list[onnx.NodeProto] = []
    turned: Turned | None = None
    while (maker := known.makers.get(name)) is not None:
        by = turned_by(maker, known) if turned is None else None
        if by is not None:
            turned = by
            chain.append(helper.make_node("Identity", [by.of], [name]))
        elif maker.op_type in LAYOUTS and len(maker.output) == 1:
            chain.append(maker)
        else:
            break
        name = chain[-1].input[0]
    return chain[::-1], turned, name


def _run(
    chain: list[onnx.NodeProto], source: str, wanted: str, given: _Places, known: Known
) -> npt.NDArray[Any] | None:
    weights: Mapping[str, Any] = {
        name: known.constant(name) for node in chain for name in node.input[1:] if name
    }
    if any(value is None for value in weights.values()):
        return None
    graph = helper.make_graph(
        chain,
        "layout",
        [helper.make_tensor_value_info(source, TensorProto.INT64, given.shape)],
        [helper.make_empty_tensor_value_info(wanted)],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    try:
        return np.asarray(ReferenceEvaluator(model).run([wanted], {source: given})[0])
    except (RuntimeError, ValueError, IndexError):  # it does not fit the sizes it was tried with
        return None
