"""Adds the bias of an 8-bit product where the product is made: an operator of ONNX Runtime.

ONNX Runtime makes one operator of a product and of what is around it in a QDQ graph when it loads a
model, but leaves the bias, which reads and writes all numbers once more.
"""

from __future__ import annotations

import onnx
from onnx import helper

from model_builder.variants.attention_nodes import OWN
from model_builder.variants.tensors import Known
from triton_models.pruning import prune


def biased_products(model: onnx.ModelProto) -> int:
    """Rewrite a model in place; return how many 8-bit products add their bias themselves."""
    known = Known.of(model)
    done = 0
    for node in model.graph.node:
        found = _parts(node, known)
        if found is None or known.only_reader(found[0].output[0]) is None:
            continue
        product, bias = found
        left, right = (known.makers[name] for name in product.input)
        (a, a_scale, a_zero), (b, b_scale, b_zero) = left.input, right.input
        given = [a, b, a_scale, b_scale, a_zero, b_zero, bias]
        made, name = list(node.output), product.name
        node.CopyFrom(helper.make_node("MatMulIntegerToFloat", given, made, name=name, domain=OWN))
        done += 1
    if done:
        prune(model.graph)
        del model.graph.value_info[:]
    return done


def _parts(node: onnx.NodeProto, known: Known) -> tuple[onnx.NodeProto, str] | None:
    """Return of a sum the product with weights, both sides in 8 bits, and the bias."""
    if node.op_type != "Add":
        return None
    for name, bias in (node.input, reversed(node.input)):
        product, value = known.made_by(name, "MatMul"), known.constant(bias)
        if product is None or value is None or value.ndim != 1:
            continue
        left, right = (known.made_by(one, "DequantizeLinear") for one in product.input)
        if left is None or right is None or right.input[0] not in known.weights:
            continue
        if len(left.input) == len(right.input) == 3:
            return product, bias
    return None
