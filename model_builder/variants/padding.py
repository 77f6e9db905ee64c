"""Reads no more places than the longest row of a batch has items.

A history is padded on the left up to the longest that a network reads. What lies there moves no
answer, but is computed all the same: where users have a hundred items in the median, half of what
a network does that reads 200. The input is cut to the longest row of the batch, and with it
whatever is laid out by place: masks, and how far each place is turned.

The model says so in its metadata, so that rows of like length are run together (``row_blocks``).

That padding moves nothing cannot be told from a graph; so whoever cuts compares the answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_builder.variants.last_place import BROADCAST, UNARY
from model_builder.variants.tensors import Known, Size, attribute
from triton_models.pruning import prune
from triton_models.row_blocks import ALIKE

Axes = frozenset[int]
"""Of a tensor, those that have an entry for each place."""

_FROM = "places/from"
_STEP = 16
"""Places are cut by so many, as a processor adds up at once: a sum over places falls into the same
parts as before, and a row's answer does not depend on how long others are."""
_WHOLE_NUMBERS = (TensorProto.INT32, TensorProto.INT64)
_END = np.iinfo(np.int64).max


class _Uncut(Exception):
    """A node does something with places that this does not follow."""


def only_given_places(model: onnx.ModelProto) -> bool:
    """Rewrite a model whose inputs are all ``(B, L)`` whole numbers, 0 on the left as padding.

    Returns:
        Whether it was: not if it has other inputs, if an output has an entry for each place, or
        if places go through an operator that is not known here. Then it is as it was.
    """
    places = _places(model)
    if places is None:
        return False
    cutting = _Cutting(model, places)
    try:
        for node in model.graph.node:
            cutting.follow(node)
    except _Uncut:
        return False
    if any(cutting.axes.get(value.name) for value in model.graph.output):
        return False
    cutting.rewrite()
    return True


def _places(model: onnx.ModelProto) -> int | None:
    """Return ``L``, if the model has inputs that can be cut, and no other."""
    found = set()
    for value in model.graph.input:
        of = value.type.tensor_type
        dims = of.shape.dim
        if of.elem_type not in _WHOLE_NUMBERS or len(dims) != 2 or dims[0].HasField("dim_value"):
            return None
        found.add(dims[1].dim_value)
    return (found.pop() or None) if len(found) == 1 else None


class _Cutting:
    """Follows places through a graph, from its input on."""

    def __init__(self, model: onnx.ModelProto, places: int) -> None:
        self._model = model
        self._places = places
        self._given = [value.name for value in model.graph.input]
        self._known = Known.of(model)
        self.axes: dict[str, Axes] = dict.fromkeys(self._given, frozenset({1}))
        self._cut: dict[tuple[str, Axes], str] = {}
        self._inputs: list[tuple[onnx.NodeProto, int, str]] = []  # node, place of its input, new
        self._shapes: list[tuple[onnx.NodeProto, list[int]]] = []

    def follow(self, node: onnx.NodeProto) -> None:
        """Find which axes of what a node makes have an entry for each place.

        Raises:
            _Uncut: If that is not known.
        """
        if not any(self.axes.get(name) for name in node.input):
            return
        rule = _RULES.get(node.op_type)
        if rule is None or (len(node.output) > 1 and node.op_type != "Split"):
            raise _Uncut
        found = rule(self, node)
        for name in node.output:
            self.axes[name] = found

    def sizes(self, name: str) -> tuple[Size, ...]:
        """Return the sizes of a tensor before it is cut."""
        if name not in self._known.sizes:
            raise _Uncut
        return self._known.sizes[name]

    def of(self, name: str) -> Axes:
        """Return the axes of a tensor that have an entry for each place."""
        return self.axes.get(name, frozenset())

    def constant(self, name: str) -> np.ndarray:
        """Return a tensor that is the same for every input."""
        value = self._known.constant(name)
        if value is None:
            raise _Uncut
        return value

    def broadcast(self, node: onnx.NodeProto) -> Axes:
        """Cut tensors that do not come from the input where they are laid out by place too."""
        rank = len(self.sizes(node.output[0]))
        axes, free = set(), set(range(rank))
        for name in node.input:
            behind = rank - len(self.sizes(name))
            axes |= {behind + axis for axis in self.of(name)}
            if self.of(name):
                free &= {*range(behind)} | {
                    behind + axis for axis, size in enumerate(self.sizes(name)) if size == 1
                }
        for place, name in enumerate(node.input):
            if self.of(name):
                continue
            behind = rank - len(self.sizes(name))
            own = frozenset(
                axis
                for axis, size in enumerate(self.sizes(name))
                if size == self._places and behind + axis in axes | free
            )
            if own:
                self._inputs.append((node, place, self._cut_of(name, own)))
                axes |= {behind + axis for axis in own}
        return frozenset(axes)

    def along(self, node: onnx.NodeProto) -> Axes:
        """Pass on places of what is computed along another axis, or along one that is cut."""
        return self.of(node.input[0])

    def matmul(self, node: onnx.NodeProto) -> Axes:
        """Multiply along places only if both have them."""
        left, right = (self.sizes(name) for name in node.input)
        if min(len(left), len(right)) < 2:
            raise _Uncut
        rank = len(self.sizes(node.output[0]))
        summed = (len(left) - 1 in self.of(node.input[0]), len(right) - 2 in self.of(node.input[1]))
        if summed[0] != summed[1]:
            raise _Uncut
        rows = {rank - len(left) + axis for axis in self.of(node.input[0]) - {len(left) - 1}}
        columns = {rank - len(right) + axis for axis in self.of(node.input[1]) - {len(right) - 2}}
        return frozenset(rows | columns)

    def transpose(self, node: onnx.NodeProto) -> Axes:
        """Follow places to where they are put."""
        order = attribute(node, "perm")
        if order is None:
            raise _Uncut
        return frozenset(new for new, old in enumerate(order) if old in self.of(node.input[0]))

    def reshape(self, node: onnx.NodeProto) -> Axes:
        """Keep the first axes, up to the places; what is behind may be split or joined."""
        axes, before = self.of(node.input[0]), self.sizes(node.input[0])
        shape = self.constant(node.input[1]).tolist()
        last = max(axes)
        if len(shape) <= last or shape[0] not in (0, -1):
            raise _Uncut
        inner = [size for size in before[last + 1 :] if isinstance(size, int)]
        if len(inner) != len(before) - last - 1 or math.prod(inner) != math.prod(shape[last + 1 :]):
            raise _Uncut
        if any(shape[axis] not in (0, before[axis]) for axis in range(1, last + 1)):
            raise _Uncut
        self._shapes.append((node, [0] * (last + 1) + shape[last + 1 :]))
        return axes

    def slice(self, node: onnx.NodeProto) -> Axes:
        """Take the last place, or a part of another axis."""
        axes = self.of(node.input[0])
        names = [*node.input[1:], *[""] * 4][:4]
        starts, ends = (self.constant(name).tolist() for name in names[:2])
        along = self.constant(names[2]).tolist() if names[2] else [*range(len(starts))]
        rank = len(self.sizes(node.input[0]))
        for start, end, axis in zip(starts, ends, along, strict=True):
            if axis % rank in axes:
                if start != -1 or end < self._places:
                    raise _Uncut
                axes -= {axis % rank}
        return axes

    def gather(self, node: onnx.NodeProto) -> Axes:
        """Look up a row for each place; or take the last place, or a part of another axis."""
        of_table, of_numbers = (self.of(name) for name in node.input)
        axis = int(attribute(node, "axis", 0)) % len(self.sizes(node.input[0]))
        width = len(self.sizes(node.input[1]))
        if axis in of_table:
            places = self.constant(node.input[1])
            if places.size != 1 or int(places.item()) != -1:
                raise _Uncut
            of_table -= {axis}
        moved = {one if one < axis else one - 1 + width for one in of_table}
        return frozenset(moved | {axis + one for one in of_numbers})

    def unsqueeze(self, node: onnx.NodeProto) -> Axes:
        """Make room for new axes."""
        rank = len(self.sizes(node.output[0]))
        new = {axis % rank for axis in self.constant(node.input[1]).tolist()}
        kept = [axis for axis in range(rank) if axis not in new]
        return frozenset(kept[axis] for axis in self.of(node.input[0]))

    def squeeze(self, node: onnx.NodeProto) -> Axes:
        """Close up where axes of one entry were."""
        rank = len(self.sizes(node.input[0]))
        gone = {axis % rank for axis in self.constant(node.input[1]).tolist()}
        kept = [axis for axis in range(rank) if axis not in gone]
        if gone & self.of(node.input[0]):
            raise _Uncut
        return frozenset(kept.index(axis) for axis in self.of(node.input[0]))

    def joined(self, node: onnx.NodeProto) -> Axes:
        """Lay beside each other, or take apart, along another axis than that of places."""
        rank = len(self.sizes(node.input[0]))
        found = {self.of(name) for name in node.input[: 1 if node.op_type == "Split" else None]}
        (axes, *others) = found
        if others or int(attribute(node, "axis", 0)) % rank in axes:
            raise _Uncut
        return axes

    def _cut_of(self, name: str, axes: Axes) -> str:
        return self._cut.setdefault((name, axes), f"{name}/given{'_'.join(map(str, sorted(axes)))}")

    def rewrite(self) -> None:
        """Cut the input, and all that is laid out by place."""
        graph = self._model.graph
        for node, place, name in self._inputs:
            node.input[place] = name
        given = {name: f"{name}/given" for name in self._given}
        for node in graph.node:
            node.input[:] = [given.get(name, name) for name in node.input]
        for number, (node, shape) in enumerate(self._shapes):
            del node.attribute[:]  # ``allowzero``: 0 is to mean the size that the input has
            node.input[1] = self._held(f"places/shape{number}", shape)
        cut = {**{(name, frozenset({1})): new for name, new in given.items()}, **self._cut}
        made = self._longest()
        starts: dict[int, str] = {1: _FROM}
        late = []  # of what is not a weight, behind what makes it
        for (name, axes), new in cut.items():
            many = len(axes)
            if many not in starts:
                starts[many] = f"{_FROM}{many}"
                made.append(helper.make_node("Concat", [_FROM] * many, [starts[many]], axis=0))
            inputs = [
                name,
                starts[many],
                self._held(f"places/to{many}", [_END] * many),
                self._held(f"places/axes{'_'.join(map(str, sorted(axes)))}", sorted(axes)),
            ]
            node = helper.make_node("Slice", inputs, [new], name=new)
            (late if name in self._known.makers else made).append(node)
        for node in late:
            at = next(i for i, one in enumerate(graph.node) if node.input[0] in one.output)
            graph.node.insert(at + 1, node)
        for node in reversed(made):
            graph.node.insert(0, node)
        prune(graph)  # shapes that nothing reads any more
        del graph.value_info[:]
        self._model.metadata_props.add(key=ALIKE, value=",".join(self._given))

    def _longest(self) -> list[onnx.NodeProto]:
        """Return what finds where the longest row begins, or a little before."""
        places = self._places
        first, *others = [f"places/of_{name}" for name in self._given]
        made = [
            helper.make_node("Cast", [name], [f"places/of_{name}"], to=TensorProto.BOOL)
            for name in self._given
        ]
        for name in others:
            made.append(helper.make_node("Or", [first, name], [f"{first}|"]))
            first = f"{first}|"
        from_end = self._held("places/from_end", [*range(places, 0, -1)])
        # Where it begins is looked up: on a small network each operator counts.
        begin = [[(places - max(longest, 1)) // _STEP * _STEP] for longest in range(places + 1)]
        steps = [
            ("Where", [first, from_end, self._held("places/none", [0])], {}),
            ("ReduceMax", ["places/0"], {"keepdims": 0}),
            ("Gather", [self._held("places/begin", begin), "places/1"], {}),
        ]
        made += [
            helper.make_node(kind, given, [f"places/{number}"], **how)
            for number, (kind, given, how) in enumerate(steps)
        ]
        made[-1].output[0] = _FROM
        return made

    def _held(self, name: str, values: Sequence[int] | Sequence[Sequence[int]]) -> str:
        if all(one.name != name for one in self._model.graph.initializer):
            self._model.graph.initializer.append(
                numpy_helper.from_array(np.array(values, np.int64), name)
            )
        return name


_RULES: Mapping[str, Callable[[_Cutting, onnx.NodeProto], Axes]] = {
    **dict.fromkeys([*UNARY, "LayerNormalization", "Softmax"], _Cutting.along),
    **dict.fromkeys(BROADCAST, _Cutting.broadcast),
    "MatMul": _Cutting.matmul,
    "Transpose": _Cutting.transpose,
    "Reshape": _Cutting.reshape,
    "Slice": _Cutting.slice,
    "Gather": _Cutting.gather,
    "Unsqueeze": _Cutting.unsqueeze,
    "Squeeze": _Cutting.squeeze,
    "Split": _Cutting.joined,
    "Concat": _Cutting.joined,
}
