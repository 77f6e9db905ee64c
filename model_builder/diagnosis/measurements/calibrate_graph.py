"""The step ``calibrate`` of a diagnosis release: logits to probabilities and contributions."""

from __future__ import annotations

import numpy as np
import onnx
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, Var, argument, build

_MINUS_INFINITY = -1e30
"""As a logit: takes a class out of a sum, and cannot make a NaN as the true one could."""


def calibrate_graph(temperature: float, features: int, classes: int) -> onnx.ModelProto:
    """Return the graph.

    ``logits``: ``(B, K)`` float32. ``reset_logits``: ``(B, F, K)`` float32.
    ``probabilities``: ``(B, K)`` float32, each row sums to 1.
    ``contributions``: ``(B, F, K)`` float32, calibrated log-odds; exactly 0 for a feature
    whose reset changes no logit.
    """
    logits = argument(Tensor(np.float32, ("B", classes)))
    reset = argument(Tensor(np.float32, ("B", features, classes)))
    scale = op.const(np.float32(temperature))
    row = op.unsqueeze(logits, _axes(1))  # (B, 1, K)
    fall = op.sub(
        _log_odds(op.div(row, scale), classes), _log_odds(op.div(reset, scale), classes)
    )  # (B, F, K)
    distance = op.reduce_max(op.abs(op.sub(row, reset)), _axes(2), keepdims=1)  # (B, F, 1)
    zero = op.const(np.float32(0))
    return build(
        {"logits": logits, "reset_logits": reset},
        {
            "probabilities": op.softmax(op.div(logits, scale), axis=1),
            "contributions": op.where(op.equal(distance, zero), zero, fall),
        },
    )


def _log_odds(logits: Var, classes: int) -> Var:
    """Return the log-odds of each class, ``(B, F, K)``, of logits of that shape."""
    # gap[…, k, j] = logit j - logit k; the log-odds of k are minus their log-sum-exp over
    # the other classes, with the greatest taken out so that nothing overflows.
    gap = op.sub(op.unsqueeze(logits, _axes(2)), op.unsqueeze(logits, _axes(3)))  # (B, F, K, K)
    itself = np.where(np.eye(classes, dtype=np.bool_), _MINUS_INFINITY, 0).astype(np.float32)
    gap = op.add(gap, op.const(itself))
    greatest = op.reduce_max(gap, _axes(3), keepdims=1)  # (B, F, K, 1)
    total = op.reduce_sum(op.exp(op.sub(gap, greatest)), _axes(3), keepdims=1)
    return op.neg(op.squeeze(op.add(greatest, op.log(total)), _axes(3)))  # (B, F, K)


def _axes(axis: int) -> Var:
    return op.const(np.array([axis], np.int64))
