"""What limits operators beyond their types, from the same page as the table of operators.

A rule is a function that looks at one node and says what TensorRT does not take, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx

from model_builder.tensorrt.graphs import Graph
from model_builder.tensorrt.operators import OPERATORS

Sizes = Mapping[str, tuple[int, ...]]
"""By input of the graph: its greatest size, with the batch axis."""
Rule = Callable[[onnx.NodeProto, Graph, Sizes], Iterator[str]]

MOST_OF_TOP_K = 3840


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    for one in node.attribute:
        if one.name == name:
            value = onnx.helper.get_attribute_value(one)
            return value.decode() if isinstance(value, bytes) else value
    return default


def _input(node: onnx.NodeProto, place: int) -> str:
    return node.input[place] if place < len(node.input) else ""


def _constant(place: int, what: str) -> Rule:
    def rule(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
        name = _input(node, place)
        if name and not graph.constant(name):
            yield f"'{what}' must be a constant, '{name}' is computed"

    return rule


def _zero(place: int, what: str) -> Rule:
    def rule(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
        name = _input(node, place)
        if not name:
            return
        value = graph.value(name)
        if value is None and not graph.constant(name):
            yield f"'{what}' must be zero, '{name}' is computed"
        elif value is not None and np.any(value.astype(np.float32) != 0):
            yield f"'{what}' must be zero (symmetric), '{name}' is not"

    return rule


def _is(name: str, wanted: Any, default: Any) -> Rule:
    def rule(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
        if (found := _attribute(node, name, default)) != wanted:
            yield f"'{name}' must be {wanted}, is {found}"

    return rule


def _one_of(name: str, allowed: tuple[str, ...], default: str) -> Rule:
    def rule(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
        if (found := _attribute(node, name, default)) not in allowed:
            yield f"'{name}' must be one of {', '.join(allowed)}, is {found}"

    return rule


def _no_dilations(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    dilations = list(_attribute(node, "dilations", []))
    if any(each != 1 for each in dilations):
        yield f"'dilations' must all be 1, are {dilations}"


def _two_or_three_dimensions(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    if (rank := graph.ranks.get(node.input[0])) not in (4, 5):
        yield f"only 2 or 3 dimensions are pooled, here {'?' if rank is None else rank - 2}"


def _rank(wanted: int) -> Rule:
    def rule(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
        if (rank := graph.ranks.get(node.input[0])) != wanted:
            yield f"its input must have {wanted} axes, has {rank}"

    return rule


def _only_first_output(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    if more := [name for name in node.output[1:] if name]:
        yield f"only its first output is supported, {', '.join(more)} is asked for"


def _no_text(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    for one in node.attribute:
        if one.name in ("sparse_value", "value_string", "value_strings"):
            yield f"a constant of '{one.name}' is unsupported"


def _not_training(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    if name := _input(node, 2):
        value = graph.value(name)
        if value is None or bool(np.any(value)):
            yield f"it must not be in training mode, which '{name}' decides"


def _static(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    dims = graph.dims.get(node.input[0])
    if dims is None or None in dims:
        yield f"its input must have fixed sizes, '{node.input[0]}' varies"


def _static_axis(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    dims = graph.dims.get(node.input[0])
    if dims is None or dims[_attribute(node, "axis", -1)] is None:
        yield f"its axis must have a fixed size, that of '{node.input[0]}' varies"


def _same_both_ways(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    names = list(_attribute(node, "activations", []))
    half = len(names) // 2
    both = _attribute(node, "direction", "forward") == "bidirectional"
    if both and names[:half] != names[half:]:
        yield "both directions must have the same activations"


def _same_branches(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    branches = [one.g.output for one in node.attribute if one.HasField("g")]
    for ours, theirs in zip(*branches, strict=True):
        ranks = graph.ranks.get(ours.name), graph.ranks.get(theirs.name)
        if None in ranks or ranks[0] != ranks[1]:
            yield f"outputs '{ours.name}' and '{theirs.name}' must have the same number of axes"
        if ours.name == theirs.name:
            yield f"output '{ours.name}' must be called otherwise in each branch"


def _known_length(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    carried = len(node.input) - 2
    if len(node.output) > carried and not graph.constant(_input(node, 0)):
        yield "the length of what it gathers must be a constant"


def _few_of_many(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
    name = _input(node, 1)
    value = graph.value(name)
    if value is None:
        if graph.depends_on_values(name):
            yield f"'K' must follow from sizes alone, '{name}' depends on what a request holds"
            return
        if {one.name for one in graph.model.graph.input} - sizes.keys():
            return  # that nothing says how far they go is told already
        try:
            value = graph.at(name, sizes)
        except KeyError:
            yield f"how great 'K' becomes cannot be told: '{name}' is made inside a loop"
            return
    if (most := int(np.max(value))) >= MOST_OF_TOP_K:
        yield f"'K' must stay below {MOST_OF_TOP_K}, '{name}' reaches {most}"


def _from_sizes(place: int, what: str) -> Rule:
    def rule(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
        name = _input(node, place)
        if name and graph.depends_on_values(name):
            yield f"'{what}' must follow from sizes alone, '{name}' depends on what a request holds"

    return rule


def _unlooked(limits: str) -> Rule:
    def rule(node: onnx.NodeProto, graph: Graph, sizes: Sizes) -> Iterator[str]:
        yield f"its limits are not looked at here: {limits}"

    return rule


_AXES = _constant(1, "axes")
_RESIZED = "half_pixel pytorch_half_pixel tf_half_pixel_for_nn asymmetric align_corners"
_NEAREST = "floor ceil round_prefer_floor round_prefer_ceil"

RULES: Mapping[str, tuple[Rule, ...]] = {
    "Attention": (_unlooked("four axes, no past, no softcap"),),
    "AveragePool": (_two_or_three_dimensions, _no_dilations),
    "Constant": (_no_text,),
    "CumSum": (_constant(1, "axis"),),
    "DeformConv": (_unlooked("one or two axes, pads alike at both ends"),),
    "DequantizeLinear": (_zero(2, "x_zero_point"),),
    "Dropout": (_not_training,),
    "EyeLike": (_static,),
    "GridSample": (_rank(4),),
    "GRU": (_same_both_ways,),
    "Hardmax": (_static_axis,),
    "If": (_same_branches,),
    "LayerNormalization": (_only_first_output,),
    "Loop": (_known_length,),
    "LpPool": (_no_dilations,),
    "LSTM": (_same_both_ways, _is("input_forget", 0, 0), _is("layout", 0, 0)),
    "MaxPool": (_two_or_three_dimensions, _no_dilations, _only_first_output),
    "OneHot": (_constant(1, "depth"),),
    "QuantizeLinear": (_zero(2, "y_zero_point"),),
    "Resize": (
        _one_of("coordinate_transformation_mode", tuple(_RESIZED.split()), "half_pixel"),
        _one_of("mode", ("nearest", "linear"), "nearest"),
        _one_of("nearest_mode", tuple(_NEAREST.split()), "round_prefer_floor"),
        _one_of("keep_aspect_ratio_policy", ("stretch",), "stretch"),
        _is("antialias", 0, 0),
    ),
    "RNN": (_same_both_ways,),
    "RotaryEmbedding": (_unlooked("position_ids of INT64"),),
    "ScatterND": (_one_of("reduction", ("none",), "none"),),
    "Slice": (_from_sizes(1, "starts"), _from_sizes(2, "ends")),
    "Squeeze": (_AXES,),
    "STFT": (_constant(1, "frame_step"), _constant(2, "window")),
    "TensorScatter": (_unlooked("four axes, axis -2"),),
    "TopK": (_is("sorted", 1, 1), _few_of_many),
    "Unsqueeze": (_AXES,),
} | {
    name: (_AXES,) for name in OPERATORS if name.startswith("Reduce")
}  # fmt: skip
"""By operator; one that is not here has no further limit."""
