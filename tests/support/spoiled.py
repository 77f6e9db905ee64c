"""Networks of the toy release, spoiled in one place."""

from __future__ import annotations

import numpy as np
import onnx


def one_percent_more(model: onnx.ModelProto) -> None:
    """Have the score come out 1 % higher, whatever goes in."""
    _replace_score(model)
    factor = onnx.numpy_helper.from_array(np.array([1.01], np.float32), "factor")
    model.graph.initializer.append(factor)
    model.graph.node.append(onnx.helper.make_node("Mul", ["score_before", "factor"], ["score"]))


def _replace_score(model: onnx.ModelProto) -> None:
    """Call the output ``score`` ``score_before``, so that another node can give it."""
    (node,) = (node for node in model.graph.node if "score" in node.output)
    node.output[list(node.output).index("score")] = "score_before"
