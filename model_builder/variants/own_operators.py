"""Rewrites a network in operators that only ONNX Runtime has: the variant ``ort``.

When it loads a graph, ONNX Runtime fuses the patterns that it knows. Two that it does not find in
these networks are written into the file: attention with heads turned by their places
(``attention_nodes``), and the bias of an 8-bit product (``biased_products``). On a small network
most of the time goes into operators that only lay numbers out anew, and those go.

Normalising a sum as it is made (SkipLayerNormalization) is left alone: on a CPU it takes longer
than the two operators that it stands for.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from model_builder.export.onnx import serialised
from model_builder.export.running import Arrays, OnnxModel
from model_builder.variants.attention_nodes import OWN, fused_attention
from model_builder.variants.biased_products import biased_products
from model_builder.variants.tensors import Known, drop_unused_operators

_VERSION = 1
_ALIKE = 1e-3
"""Of an output's spread, in the root of the mean square: where sums fall into other parts, an 8-bit
number may be rounded up instead of down."""


def with_own_operators(
    model: onnx.ModelProto, asked: Arrays
) -> tuple[onnx.ModelProto, dict[str, int]] | None:
    """Return a network that answers alike, and how many of each were written.

    Args:
        model: A core of a release, or what was made of one.
        asked: What it is given, some rows.

    Returns:
        ``None`` if there is nothing to write, or if answers would be others.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.opset_import.append(helper.make_opsetid(OWN, _VERSION))
    sizes = Known.of(model).sizes
    done = {"attention": fused_attention(made), "biased_products": biased_products(made)}
    if not any(done.values()):
        return None
    # ONNX cannot infer what comes out of operators that it does not know.
    made.graph.value_info.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes[name])
        for node in made.graph.node
        if node.domain == OWN
        for name in node.output
        if name in sizes
    )
    drop_unused_operators(made)
    return (made, done) if _alike(model, made, asked) else None


def _alike(before: onnx.ModelProto, after: onnx.ModelProto, asked: Arrays) -> bool:
    wanted, found = (OnnxModel(serialised(each)).run(asked) for each in (before, after))
    for name, values in wanted.items():
        if values.dtype.kind != "f":
            if not np.array_equal(values, found[name]):
                return False
        elif np.sqrt(np.square(values - found[name]).mean()) > _ALIKE * float(values.std()):
            return False
    return True
