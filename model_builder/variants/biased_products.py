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
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    done = 0
    for node in model.graph.node:
        found = _parts(node, known)
        if found is None or readers[found[0].output[0]] > 1:
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
        product, value = known.makers.get(name), known.constant(bias)
        if product is None or product.op_type != "MatMul" or value is None or value.ndim != 1:
            continue
        sides = [known.makers.get(one) for one in product.input]
        if all(
            one is not None and one.op_type == "DequantizeLinear" and len(one.input) == 3
            for one in sides
        ) and (sides[1] is not None and sides[1].input[0] in known.weights):
            return product, bias
    return None
