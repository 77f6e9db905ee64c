"""Rounds a part of 8-bit numbers once.

Where a layer reads one place of what another reads whole, the part gets a range of its own: 8-bit
numbers are made floats, cut, and rounded again. They can be cut as they are.
"""

from __future__ import annotations

import onnx

from model_builder.variants.tensors import Known
from triton_models.pruning import prune


def rounded_once(model: onnx.ModelProto) -> int:
    """Rewrite a QDQ model in place; return how many parts are cut from 8-bit numbers."""
    known = Known.of(model)
    done = 0
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        again = known.made_by(node.input[0], "QuantizeLinear")
        cut = None if again is None else known.made_by(again.input[0], "Slice")
        whole = None if cut is None else known.made_by(cut.input[0], "DequantizeLinear")
        if again is None or cut is None or whole is None:
            continue
        if known.only_reader(cut.output[0]) is None or known.only_reader(again.output[0]) is None:
            continue  # others read what is rounded here, too
        if any(
            one.size != 1 for name in whole.input[1:] if (one := known.constant(name)) is not None
        ):
            continue  # ranges along an axis that may be cut
        cut.input[0] = whole.input[0]
        node.input[:] = [cut.output[0], *whole.input[1:]]
        done += 1
    if done:
        prune(model.graph)
        del model.graph.value_info[:]
    return done
