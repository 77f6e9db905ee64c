"""What is known of a graph before anybody runs it: types, ranks, and what is constant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import inliner, numpy_helper, shape_inference

from model_builder.export.running import OnnxModel
from triton_models.pruning import inner_graphs, prune

_TYPES = {
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.FLOAT16: "FP16",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.DOUBLE: "FP64",
    onnx.TensorProto.FLOAT8E4M3FN: "FP8",
    onnx.TensorProto.STRING: "STRING",
}


def type_name(elem_type: int) -> str:
    """Return an ONNX data type as TensorRT calls it."""
    return _TYPES.get(elem_type) or onnx.TensorProto.DataType.Name(elem_type)


@dataclass(frozen=True)
class Node:
    """A node, wherever it stands."""

    proto: onnx.NodeProto
    outer: bool
    """Whether it stands in the graph itself, not in one inside it."""

    @property
    def text(self) -> str:
        """How a person finds it: name and operator."""
        name = self.proto.name or next(iter(self.proto.output), "")
        return f"{name} ({self.proto.op_type})"


@dataclass
class Graph:
    """A model, with what shape inference finds out."""

    model: onnx.ModelProto
    types: dict[str, str] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    dims: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    """By tensor; ``None`` varies."""
    constants: dict[str, npt.NDArray[np.generic] | None] = field(default_factory=dict)
    """What does not depend on a request; ``None``: it must be computed to be known."""
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)

    @property
    def nodes(self) -> Iterator[Node]:
        """Every node, those of inner graphs too."""
        yield from _nodes(self.model.graph, outer=True)

    @property
    def versions(self) -> dict[str, int]:
        """The version of each domain of operators; ONNX's own is ``""``."""
        own = ("", "ai.onnx")
        return {
            "" if one.domain in own else one.domain: one.version for one in self.model.opset_import
        }

    def constant(self, name: str) -> bool:
        """Return whether a tensor is the same in every request."""
        return name in self.constants

    def value(self, name: str) -> npt.NDArray[np.generic] | None:
        """Return a constant, if it is known without computing."""
        return self.constants.get(name)

    def depends_on_values(self, name: str) -> bool:
        """Return whether a tensor depends on what a request holds, not only on its sizes."""
        seen: set[str] = set()
        waiting = [name]
        inputs = {value.name for value in self.model.graph.input}
        while waiting:
            one = waiting.pop()
            if one in seen or one in self.constants:
                continue
            seen.add(one)
            maker = self.makers.get(one)
            if one in inputs or maker is None:
                return True
            if maker.op_type not in ("Shape", "Size"):
                waiting += maker.input
        return False

    def at(self, name: str, sizes: Mapping[str, tuple[int, ...]]) -> npt.NDArray[np.generic]:
        """Return what a tensor is when the inputs have these sizes and hold zeros.

        Args:
            name: A tensor; one of an inner graph must be made of what lies outside.
            sizes: By input, with the batch axis.

        Raises:
            KeyError: If it needs what only the inner graph has.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model.graph.node.extend(self._made_inside(name))
        del model.graph.output[:]
        elem_type = onnx.TensorProto.INT64
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, elem_type, None))
        prune(model.graph)
        types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
        kept = OnnxModel(model.SerializeToString())
        given = {
            one: np.zeros(sizes[one], onnx.helper.tensor_dtype_to_np_dtype(types[one]))
            for one in kept.inputs
        }
        return kept.run(given)[name]

    def _made_inside(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes of inner graphs that a tensor needs, in the order of the work.

        Raises:
            KeyError: If it needs what no node makes, such as what a loop hands on.
        """
        known = {one for node in self.model.graph.node for one in node.output}
        known |= {value.name for value in self.model.graph.input}
        known |= {weights.name for weights in self.model.graph.initializer}
        nodes: list[onnx.NodeProto] = []

        def add(one: str) -> None:
            if one and one not in known:
                known.add(one)
                for before in self.makers[one].input:
                    add(before)
                nodes.append(self.makers[one])

        add(name)
        return nodes


def looked_at(model: onnx.ModelProto) -> Graph:
    """Return a model with what can be found out of it; functions of its own are inlined.

    Raises:
        onnx.shape_inference.InferenceError: If its types do not fit each other.
    """
    plain = inliner.inline_local_functions(model) if model.functions else model
    inferred = shape_inference.infer_shapes(plain, data_prop=True, strict_mode=True)
    graph = Graph(inferred)
    _look(graph, inferred.graph)
    return graph


def _look(graph: Graph, own: onnx.GraphProto) -> None:
    for value in (*own.input, *own.value_info, *own.output):
        tensor = value.type.tensor_type
        graph.types[value.name] = type_name(tensor.elem_type)
        if tensor.HasField("shape"):
            dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
            graph.ranks[value.name] = len(dims)
            graph.dims[value.name] = dims
    for weights in own.initializer:
        graph.types[weights.name] = type_name(weights.data_type)
        graph.ranks[weights.name] = len(weights.dims)
        graph.dims[weights.name] = tuple(weights.dims)
        small = int(np.prod(weights.dims, dtype=np.int64)) <= 64
        graph.constants[weights.name] = numpy_helper.to_array(weights) if small else None
    for node in own.node:
        for name in node.output:
            graph.makers[name] = node
        if node.op_type == "Constant":
            held = next((a.t for a in node.attribute if a.name == "value"), None)
            value = numpy_helper.to_array(held) if held is not None else _plain(node)
            graph.constants[node.output[0]] = value
        elif node.input and all(not name or name in graph.constants for name in node.input):
            graph.constants |= dict.fromkeys(node.output)
        for inner in inner_graphs(node):
            _look(graph, inner)


def _plain(node: onnx.NodeProto) -> npt.NDArray[np.generic] | None:
    """Return the value of a Constant that holds it as a number or a list."""
    for attribute in node.attribute:
        if attribute.name.startswith("value_") and "string" not in attribute.name:
            return np.asarray(onnx.helper.get_attribute_value(attribute))
    return None


def _nodes(graph: onnx.GraphProto, *, outer: bool) -> Iterator[Node]:
    for node in graph.node:
        yield Node(node, outer)
        for inner in inner_graphs(node):
            yield from _nodes(inner, outer=False)
