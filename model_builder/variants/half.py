"""Weights stored in 16 bits: half the file, and nothing faster on a CPU.

Each large weight is followed by a cast to 32 bits, which ONNX Runtime does once, when it loads the
model. It computes in 32 bits as before; only the rounding of the weights is other.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_LEAST_VALUES = 256
"""Smaller weights are left as they are: nothing is saved."""
_LARGEST = float(np.finfo(np.float16).max)


def stored_in_half(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Return a network with its large float weights in float16, and how many those are.

    A weight that float16 cannot hold stays as it is.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    casts = []
    for weight in made.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < _LEAST_VALUES:
            continue
        values = numpy_helper.to_array(weight)
        if not np.isfinite(values).all() or np.abs(values).max() > _LARGEST:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
        casts.append(
            helper.make_node(
                "Cast", [weight.name], [name], name=f"{name}/cast", to=TensorProto.FLOAT
            )
        )
    for cast in reversed(casts):
        made.graph.node.insert(0, cast)
    del made.graph.value_info[:]
    return made, len(casts)
