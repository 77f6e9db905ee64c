"""Reads a table of one block by one look-up.

A large table lies in blocks and a row is found by block and place, two numbers that a dozen
operators work out for each look-up. Where there is one block, the place is the number itself.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from model_builder.variants.tensors import Known, attribute
from triton_models.pruning import prune

_AXES = "look_ups/first"


def plain_look_ups(model: onnx.ModelProto) -> int:
    """Rewrite a model in place; return how many look-ups became plain."""
    known = Known.of(model)
    done = 0
    for place, node in enumerate(list(model.graph.node)):
        number = _number(node, known)
        if number is None:
            continue
        rows = f"{node.output[0]}/rows"
        found = helper.make_node("Gather", [node.input[0], number], [rows], name=rows, axis=1)
        flat = helper.make_node("Squeeze", [rows, _AXES], list(node.output), name=node.name)
        index = place + done
        del model.graph.node[index]
        model.graph.node.insert(index, flat)
        model.graph.node.insert(index, found)
        done += 1
    if done:
        model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), _AXES))
        prune(model.graph)
        del model.graph.value_info[:]
    return done


def _number(node: onnx.NodeProto, known: Known) -> str | None:
    """Return the tensor of row numbers, if a node looks up rows of a table of one block."""
    if node.op_type != "GatherND" or attribute(node, "batch_dims", 0):
        return None
    table = known.weights.get(node.input[0])
    where = known.makers.get(node.input[1])
    if table is None or len(table.dims) != 3 or table.dims[0] != 1:
        return None
    if where is None or where.op_type != "Concat" or len(where.input) != 2:
        return None
    place = known.makers.get(where.input[1])
    if place is None or place.op_type != "Unsqueeze":
        return None
    axes = known.constant(place.input[1])
    rest = known.makers.get(place.input[0])
    if axes is None or rest is None or rest.op_type not in ("Mod", "Cast"):
        return None
    size = known.constant(rest.input[1]) if rest.op_type == "Mod" else None
    ranks = (len(known.sizes.get(where.output[0], ())), len(known.sizes.get(rest.output[0], ())))
    if size is None or size.size != 1 or int(size.item()) != table.dims[1]:
        return None
    last = ranks[0] - 1
    fits = ranks[0] == ranks[1] + 1 and int(axes.item()) in (-1, last)
    return str(rest.input[0]) if fits else None
