"""Numbers in a graph that is written by hand."""

from __future__ import annotations

import numpy as np
import spox.opset.ai.onnx.v18 as op
from spox import Var


def int32(value: int) -> Var:
    """Return ``()`` int32."""
    return op.const(np.int32(value))


def int64s(*values: int) -> Var:
    """Return ``(n,)`` int64: axes, sizes or places, as operators take them."""
    return op.const(np.array(values, np.int64))
