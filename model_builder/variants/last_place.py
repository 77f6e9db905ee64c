"""Computes only the last place of a sequence where nothing else of it is read.

A network that says what comes next reads the state of the last place alone. What lies between its
last attention and that state is the same for every place, so the others need not be computed: the
read is moved up, from the end of the network to where places first look at each other. The answers
are those of before, up to the order of sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from model_builder.variants.tensors import Known, Size, attribute

_FULL = -1
"""Instead of an axis: all of the tensor is read."""
UNARY = frozenset({"Cast", "Erf", "Identity", "Neg", "Not", "Relu", "Sigmoid", "Sqrt", "Tanh"})
"""Operators that compute each number by itself."""
BROADCAST = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mul", "Or", "Pow", "Sub",
     "Where"}
)  # fmt: skip
"""Operators whose inputs are laid over each other."""
_END = np.iinfo(np.int64).max


def only_last_places(model: onnx.ModelProto) -> int:
    """Rewrite a model in place; return how many reads of a last place were moved up."""
    known = Known.of(model)
    roots = {id(node): axis for node, axis in _reads_of_a_last_place(model, known)}
    wanted: dict[str, set[int]] = {value.name: {_FULL} for value in model.graph.output}
    moved: list[onnx.NodeProto] = []
    reads: list[tuple[onnx.NodeProto, int, int]] = []  # node, place of its input, axis
    for node in reversed(model.graph.node):
        through = {0: roots[id(node)]} if id(node) in roots else _moved_through(node, wanted, known)
        if through is not None and id(node) not in roots:
            moved.append(node)
        for place, name in enumerate(node.input):
            axis = (through or {}).get(place, _FULL)
            wanted.setdefault(name, set()).add(axis)
            if axis != _FULL:
                reads.append((node, place, axis))
    if not moved:
        return 0
    shortened = {name for node in moved for name in node.output}
    _shorten_shapes(model, moved, wanted, known)
    cut: dict[tuple[str, int], str] = {}
    for node, place, axis in reads:
        name = node.input[place]
        if name not in shortened:
            node.input[place] = cut.setdefault((name, axis), f"{name}/last{axis}")
    _insert_cuts(model, cut)
    del model.graph.value_info[:]
    return len(roots)


def _moved_through(
    node: onnx.NodeProto, wanted: dict[str, set[int]], known: Known
) -> dict[int, int] | None:
    """Return what :func:`_through` does, if all that read the node read the same last place."""
    axes = {axis for name in node.output for axis in wanted.get(name, ())}
    if len(axes) != 1 or _FULL in axes or len(node.output) != 1:
        return None
    return _through(node, next(iter(axes)), known)


def _reads_of_a_last_place(
    model: onnx.ModelProto, known: Known
) -> Iterator[tuple[onnx.NodeProto, int]]:
    """Give each node that takes the last place of an axis that is neither first nor last."""
    for node in model.graph.node:
        if node.op_type != "Gather" or node.input[0] in known.weights:
            continue
        sizes, places = known.sizes.get(node.input[0]), known.constant(node.input[1])
        axis = int(attribute(node, "axis", 0))
        if sizes is None or places is None or places.size != 1:
            continue
        # Once the others are gone, -1 still names the one that is left.
        if int(places.item()) == -1 and 0 < axis < len(sizes) - 1:
            yield node, axis


def _through(node: onnx.NodeProto, axis: int, known: Known) -> dict[int, int] | None:
    """Return which axis of which input makes one place of an axis of the output.

    Inputs that are not named are read as they are; ``None`` if all of the places are needed.
    """
    sizes = known.sizes.get(node.output[0])
    if sizes is None or any(name and name not in known.sizes for name in node.input):
        return None
    if node.op_type in UNARY:
        return {0: axis}
    if node.op_type in BROADCAST:
        return _through_broadcast(node, axis, len(sizes), known)
    if node.op_type == "Reshape":
        return _through_reshape(node, axis, len(sizes), known)
    return _through_layer(node, axis, len(sizes), known)


def _through_broadcast(
    node: onnx.NodeProto, axis: int, rank: int, known: Known
) -> dict[int, int] | None:
    found = {}
    for place, name in enumerate(node.input):
        own = axis - (rank - len(known.sizes[name]))
        if own >= 0 and known.sizes[name][own] != 1:
            found[place] = own
    return found


def _through_layer(
    node: onnx.NodeProto, axis: int, rank: int, known: Known
) -> dict[int, int] | None:
    if node.op_type in ("LayerNormalization", "Softmax"):
        along = int(attribute(node, "axis", -1)) % rank
        return {0: axis} if along == rank - 1 and axis != along else None
    if node.op_type == "MatMul":
        left = len(known.sizes[node.input[0]])
        return {0: left - 2} if axis == rank - 2 and left >= 2 else None
    if node.op_type == "Transpose":
        return {0: int(attribute(node, "perm")[axis])}
    return None


def _through_reshape(
    node: onnx.NodeProto, axis: int, rank: int, known: Known
) -> dict[int, int] | None:
    before, shape = known.sizes[node.input[0]], known.constant(node.input[1])
    if shape is None or len(before) <= axis or len(shape) != rank:
        return None
    return {0: axis} if _kept(before, shape.tolist(), axis) else None


def _kept(before: Sequence[Size], shape: Sequence[int], axis: int) -> bool:
    """Say whether a reshape leaves the axes up to this one as they were."""
    inner = [size for size in before[1:] if isinstance(size, int)]
    whole = len(inner) == len(before) - 1 and math.prod(inner) == math.prod(shape[1:])
    # 0 takes the size of the axis from the input; -1 the rows, if all that is inside fits.
    rows = shape[0] == 0 or (shape[0] == -1 and whole)
    return rows and all(shape[place] in (0, before[place]) for place in range(1, axis + 1))


def _shorten_shapes(
    model: onnx.ModelProto,
    moved: list[onnx.NodeProto],
    wanted: dict[str, set[int]],
    known: Known,
) -> None:
    """Have the reshapes among the moved nodes make one place instead of all."""
    for number, node in enumerate(moved):
        if node.op_type != "Reshape":
            continue
        (axis,) = wanted[node.output[0]]
        shape = known.constant(node.input[1])
        assert shape is not None
        shape = shape.copy()
        if shape[axis] > 0:  # 0 takes the size from the input, which is right as it is
            shape[axis] = 1
        name = f"last_place/shape{number}"
        model.graph.initializer.append(numpy_helper.from_array(shape, name))
        node.input[1] = name


def _insert_cuts(model: onnx.ModelProto, cut: dict[tuple[str, int], str]) -> None:
    """Add a slice for each tensor that is still whole, right behind what makes it."""
    places = {name: place for place, node in enumerate(model.graph.node) for name in node.output}
    nodes: list[tuple[int, onnx.NodeProto]] = []
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array([value], np.int64), f"last_place/{name}")
        for name, value in (("from", -1), ("to", _END))
    )
    for axis in sorted({axis for _, axis in cut}):
        model.graph.initializer.append(
            numpy_helper.from_array(np.array([axis], np.int64), f"last_place/axis{axis}")
        )
    for (name, axis), made in cut.items():
        inputs = [name, "last_place/from", "last_place/to", f"last_place/axis{axis}"]
        nodes.append((places.get(name, -1), helper.make_node("Slice", inputs, [made], name=made)))
    for place, node in sorted(nodes, key=lambda one: -one[0]):
        model.graph.node.insert(place + 1, node)
