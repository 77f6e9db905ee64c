"""Networks of the toy release, spoiled in one place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx


def one_percent_more(model: onnx.ModelProto) -> None:
    """Have the score come out 1 % higher, whatever goes in."""
    _replace_score(model)
    factor = onnx.numpy_helper.from_array(np.array([1.01], np.float32), "factor")
    model.graph.initializer.append(factor)
    model.graph.node.append(onnx.helper.make_node("Mul", ["score_before", "factor"], ["score"]))


def one_percent_more_of_batches(rows: int) -> Callable[[onnx.ModelProto], None]:
    """Return what has the score come out 1 % higher in batches of so many rows, and in no other."""

    def spoil(model: onnx.ModelProto) -> None:
        _replace_score(model)
        constants = {
            "first": np.array([0], np.int64),
            "rows": np.array([rows], np.int64),
            "factor": np.array([1.01], np.float32),
            "one": np.array([1], np.float32),
        }
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(array, name) for name, array in constants.items()
        )
        node = onnx.helper.make_node
        model.graph.node.extend(
            [
                node("Shape", ["score_before"], ["shape"]),
                node("Gather", ["shape", "first"], ["batch"]),
                node("Equal", ["batch", "rows"], ["is_spoiled"]),
                node("Where", ["is_spoiled", "factor", "one"], ["times"]),
                node("Mul", ["score_before", "times"], ["score"]),
            ]
        )

    return spoil


def weights_one_percent_more(model: onnx.ModelProto) -> None:
    """Make the weights of the network 1 % larger."""
    for weights in model.graph.initializer:
        array = onnx.numpy_helper.to_array(weights)
        if array.dtype == np.float32 and array.size == 3:
            weights.CopyFrom(onnx.numpy_helper.from_array(array * 1.01, weights.name))
            return
    raise AssertionError("there is no weight of the network")


def two_scores(model: onnx.ModelProto) -> None:
    """Have the score come out twice, beside itself."""
    _replace_score(model)
    names = ["score_before", "score_before"]
    model.graph.node.append(onnx.helper.make_node("Concat", names, ["score"], axis=1))
    (value,) = (value for value in model.graph.output if value.name == "score")
    value.type.tensor_type.shape.dim[1].dim_value = 2


def reads_what_nobody_gives(model: onnx.ModelProto) -> None:
    """Add a node whose input no node gives."""
    model.graph.node.append(onnx.helper.make_node("Neg", ["nowhere"], ["nothing"]))


def declares_another_type(model: onnx.ModelProto) -> None:
    """Say of the score that it is an integer, which it is not."""
    (value,) = (value for value in model.graph.output if value.name == "score")
    value.type.tensor_type.elem_type = onnx.TensorProto.INT64


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
