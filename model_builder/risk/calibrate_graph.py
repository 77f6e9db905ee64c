"""The step ``calibrate`` of a risk release: logits to probability, score and contributions."""

from __future__ import annotations

import numpy as np
import onnx
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, Var, argument, build

from model_builder.risk.score import HIGHEST_SCORE, LOWEST_SCORE, Scorecard


def calibrate_graph(card: Scorecard, features: int) -> onnx.ModelProto:
    """Return the graph.

    ``logits``: ``(B, 1)`` float32. ``reset_logits``: ``(B, F, 1)`` float32.
    ``default_probability``: ``(B, 1)`` float32 in [0, 1]. ``score``: ``(B, 1)`` float32 in
    [300, 850]. ``contributions``: ``(B, F)`` float32, calibrated log-odds.
    """
    logits = argument(Tensor(np.float32, ("B", 1)))
    reset = argument(Tensor(np.float32, ("B", features, 1)))
    log_odds = op.add(op.mul(logits, _constant(card.slope)), _constant(card.offset))
    points = op.mul(log_odds, _constant(-card.points_per_log_odds))
    score = op.clip(
        op.add(points, _constant(card.even_score)),
        _constant(LOWEST_SCORE),
        _constant(HIGHEST_SCORE),
    )
    fall = op.sub(logits, op.squeeze(reset, op.const(np.array([2], np.int64))))  # (B, F)
    return build(
        {"logits": logits, "reset_logits": reset},
        {
            "default_probability": op.sigmoid(log_odds),
            "score": score,
            "contributions": op.mul(fall, _constant(card.slope)),
        },
    )


def _constant(value: float) -> Var:
    return op.const(np.float32(value))
