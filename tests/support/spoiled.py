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


def best_is_no_number(model: onnx.ModelProto) -> None:
    """Have the best score of a batch come out as NaN."""
    _replace_score(model)
    nan = onnx.numpy_helper.from_array(np.array([np.nan], np.float32), "nan")
    model.graph.initializer.append(nan)
    node = onnx.helper.make_node
    model.graph.node.extend(
        [
            node("ReduceMax", ["score_before"], ["best"], keepdims=1),
            node("Equal", ["score_before", "best"], ["is_best"]),
            node("Where", ["is_best", "nan", "score_before"], ["score"]),
        ]
    )


def _replace_score(model: onnx.ModelProto) -> None:
    """Call the output ``score`` ``score_before``, so that another node can give it."""
    (node,) = (node for node in model.graph.node if "score" in node.output)
    node.output[list(node.output).index("score")] = "score_before"
