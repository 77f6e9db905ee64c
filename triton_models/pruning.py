"""What leads to what in an ONNX graph, and leaving out what leads to none of its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def prune(graph: onnx.GraphProto) -> int:
    """Remove the nodes and weights that no output needs; return how many nodes that were.

    The inputs stay, also those that nothing reads any more: whoever runs it gives the same.
    """
    needed = leading_to(graph, (value.name for value in graph.output))
    kept = [node for node in graph.node if needed.intersection(node.output)]
    weights = [one for one in graph.initializer if one.name in needed]
    removed = len(graph.node) - len(kept)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)
    return removed


def leading_to(graph: onnx.GraphProto, names: Iterable[str]) -> set[str]:
    """Return the tensors that some are made of, these among them."""
    found = set(names)
    for node in reversed(graph.node):
        if found.intersection(node.output):
            found.update(node.input)
            for inner in inner_graphs(node):
                found.update(_names_read(inner))
    return found


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Return the graphs that a node holds: the branches of an If, the body of a Loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _names_read(graph: onnx.GraphProto) -> Iterator[str]:
    """Return what an inner graph reads, also from outside; a branch may just pass it on."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for inner in inner_graphs(node):
            yield from _names_read(inner)
