"""What is known of the tensors of a graph: who makes and who reads them, and their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Size = int | str | None


@dataclass(frozen=True)
class Known:
    """Of one graph; it is not followed when the graph is changed."""

    makers: dict[str, onnx.NodeProto]
    weights: dict[str, onnx.TensorProto]
    sizes: dict[str, tuple[Size, ...]]
    """An axis that varies by its letter, or ``None``."""
    readers: dict[str, list[onnx.NodeProto]]
    """In their order, each once."""

    @staticmethod
    def of(model: onnx.ModelProto) -> Known:
        """Look at a model."""
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        sizes = {
            value.name: tuple(map(_size, value.type.tensor_type.shape.dim))
            for value in values
            if value.type.tensor_type.HasField("shape")
        }
        sizes |= {one.name: tuple(one.dims) for one in model.graph.initializer}
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in set(node.input):
                readers.setdefault(name, []).append(node)
        return Known(
            {name: node for node in model.graph.node for name in node.output},
            {one.name: one for one in model.graph.initializer},
            sizes,
            readers,
        )

    def made_by(self, name: str, kind: str) -> onnx.NodeProto | None:
        """Return the node that makes a tensor, if it is of a kind."""
        maker = self.makers.get(name)
        return maker if maker is not None and maker.op_type == kind else None

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """Return the node that reads a tensor, if no other one does."""
        readers = self.readers.get(name, ())
        return readers[0] if len(readers) == 1 else None

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """Return a tensor that is the same for every input, if it is one."""
        if name in self.weights:
            return np.asarray(numpy_helper.to_array(self.weights[name]))
        maker = self.makers.get(name)
        if maker is not None and maker.op_type == "Constant":
            for one in maker.attribute:
                if one.name == "value":
                    return np.asarray(numpy_helper.to_array(one.t))
        return None


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return an attribute of a node."""
    for one in node.attribute:
        if one.name == name:
            return onnx.helper.get_attribute_value(one)
    return default


def drop_unused_operators(model: onnx.ModelProto) -> None:
    """Import ONNX's operators and those that are used: others would keep models from joining."""
    used = {node.domain for node in model.graph.node}
    kept = [one for one in model.opset_import if one.domain in ("", *used)]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _size(dim: onnx.TensorShapeProto.Dimension) -> Size:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None
