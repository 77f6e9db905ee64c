"""Whether TensorRT is said to take a network, told without TensorRT and without a GPU.

Looks at operators, types, the version of the operators, and at what varies. It is what TensorRT's
makers publish, not a trial: only ``model-builder compile`` on a GPU shows that it is so.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx.shape_inference import InferenceError

from model_builder.export.shapes import Ranges, UnboundedAxes, greatest_sizes
from model_builder.tensorrt.graphs import Graph, Node, looked_at
from model_builder.tensorrt.operators import (
    BY_OUTPUT,
    CHECKED_AGAINST,
    DATA_INPUT,
    OPERATORS,
    OPSETS,
    TYPES,
)
from model_builder.tensorrt.rules import RULES, Sizes
from triton_models.plans import Readiness


def readiness(model: onnx.ModelProto, ranges: Ranges) -> Readiness:
    """Return whether TensorRT is said to take ``model``, and why not.

    Args:
        model: A core of a release.
        ranges: How far the axes go that vary.
    """
    faults = tuple(dict.fromkeys(_faults(model, ranges)))
    return Readiness(ready=not faults, because=faults, checked_against=CHECKED_AGAINST)


def _faults(model: onnx.ModelProto, ranges: Ranges) -> Iterator[str]:
    try:
        graph = looked_at(model)
    except InferenceError as error:
        yield f"its types and sizes do not fit each other: {' '.join(str(error).split())}"
        return
    version = graph.versions.get("", 0)
    if version not in OPSETS:
        yield f"opset {version}: {CHECKED_AGAINST} reads {OPSETS.start} to {OPSETS.stop - 1}"
    sizes: Sizes = {}
    try:
        sizes = greatest_sizes(graph.model.graph.input, ranges)
    except UnboundedAxes as error:
        yield from error.faults
    for value in graph.model.graph.input:
        yield from _wrong_type(f"input '{value.name}'", graph.types[value.name])
    for node in graph.nodes:
        for fault in _of_node(node, graph, sizes):
            yield f"{node.text}: {fault}"


def _of_node(node: Node, graph: Graph, sizes: Sizes) -> Iterator[str]:
    kind = node.proto.op_type
    if node.proto.domain not in ("", "ai.onnx"):
        yield f"operators of '{node.proto.domain}' are unknown to it"
        return
    if kind not in OPERATORS:
        yield "the operator is not supported"
        return
    yield from _types(node, graph)
    for rule in RULES.get(kind, ()):
        yield from rule(node.proto, graph, sizes)


def _types(node: Node, graph: Graph) -> Iterator[str]:
    """Return which types the operator does not compute in, and which no tensor may have."""
    proto = node.proto
    supported = OPERATORS[proto.op_type]
    borders = {value.name for value in (*graph.model.graph.input, *graph.model.graph.output)}
    computed = _computed_in(proto)
    for name in (*proto.input, *proto.output):
        found = graph.types.get(name)
        if not name or found is None:
            continue
        if name in computed and found not in supported:
            yield f"does not compute in {found} ('{name}'), only in {', '.join(sorted(supported))}"
        elif found == "UINT8" and name not in borders:
            yield f"'{name}' is UINT8, which only inputs and outputs of the network may be"
        else:
            yield from _wrong_type(f"'{name}'", found)


def _computed_in(proto: onnx.NodeProto) -> set[str]:
    """Return the tensors whose types an operator computes in; not those of places and sizes."""
    if proto.op_type in BY_OUTPUT:
        return set(proto.output)
    if proto.op_type in ("Cast", "CastLike"):
        return {proto.input[0], *proto.output}
    first = DATA_INPUT.get(proto.op_type, 0)
    names = proto.input[first : first + 1]
    if proto.op_type in ("Where", "Concat", "Max", "Min", "Mean", "Sum"):
        names = proto.input[first:]
    return set(names)


def _wrong_type(what: str, found: str) -> Iterator[str]:
    if found == "FP64":
        yield f"{what} is FP64, which is cast down to FP32"
    elif found not in TYPES:
        yield f"{what} is {found}, which it does not have"
