"""The step ``calibrate`` of a risk release: logits to probability, score and contributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, Var, argument, build

from model_builder.evaluation.risk_calibration import BetaCalibration, Calibration
from model_builder.risk.score import HIGHEST_SCORE, LOWEST_SCORE, NEAR, Scorecard
from model_builder.tabular.model import Explanation


def calibrate_graph(card: Scorecard, features: int, explanation: Explanation) -> onnx.ModelProto:
    """Return the graph.

    ``logits``: ``(B, 1)`` float32. ``attributions``: ``(B, F)`` float32; or ``reset_logits``:
    ``(B, F, 1)`` float32. ``default_probability``: ``(B, 1)`` float32 in [0, 1]. ``score``:
    ``(B, 1)`` float32 in [300, 850]. ``contributions``: ``(B, F)`` float32, calibrated log-odds.

    Inside, all is float64: what is divided by the distance of two log-odds has no digits to lose.
    """
    logits = argument(Tensor(np.float32, ("B", 1)))
    shape = ("B", features) if explanation == "attributions" else ("B", features, 1)
    explained = argument(Tensor(np.float32, shape))
    z = op.cast(logits, to=np.float64)
    log_odds = _log_odds(z, card.calibration)
    points = op.mul(log_odds, _constant(-card.points_per_log_odds))
    score = op.clip(
        op.add(points, _constant(card.even_score)),
        _constant(LOWEST_SCORE),
        _constant(HIGHEST_SCORE),
    )
    shares = op.cast(explained, to=np.float64)
    if explanation == "reset_logits":
        shares = _shares_of_falls(z, shares, card.reference_logit)
    contributions = op.mul(shares, _factor(z, log_odds, card))
    made = {
        "default_probability": op.sigmoid(log_odds),
        "score": score,
        "contributions": contributions,
    }
    return build(
        {"logits": logits, explanation: explained},
        {name: op.cast(value, to=np.float32) for name, value in made.items()},
    )


def _log_odds(z: Var, calibration: Calibration) -> Var:
    if isinstance(calibration, BetaCalibration):
        rise = op.mul(_softplus(op.neg(z)), _constant(-calibration.rise))
        fall = op.mul(_softplus(z), _constant(calibration.fall))
        return op.add(op.add(rise, fall), _constant(calibration.offset))
    first, last = calibration.knots[0], calibration.knots[-1]
    nothing = _constant(0.0)
    past = op.sub(z, op.const(np.array([calibration.knots[:-1]])))  # (B, K - 1)
    inner = op.min([op.max([past, nothing]), op.const(calibration.widths[None])])
    risen = op.matmul(inner, op.const(calibration.slopes[:, None]))  # (B, 1)
    outer = op.add(
        op.min([op.sub(z, _constant(first)), nothing]),
        op.max([op.sub(z, _constant(last)), nothing]),
    )
    outer = op.mul(outer, _constant(calibration.outer_slope))
    return op.add(op.add(risen, outer), _constant(calibration.values[0]))


def _factor(z: Var, log_odds: Var, card: Scorecard) -> Var:
    """Return by how much the log-odds move with the logit, from the reference to here."""
    distance = op.sub(z, _constant(card.reference_logit))
    moved = op.sub(log_odds, _constant(card.reference_log_odds))
    near = op.less(op.abs(distance), _constant(NEAR))
    slope = _constant(card.calibration.slope(card.reference_logit))
    return op.where(near, slope, op.div(moved, op.where(near, _constant(1.0), distance)))


def _shares_of_falls(z: Var, reset: Var, reference: float) -> Var:
    features = op.const(np.array([1], np.int64))
    falls = op.sub(z, op.squeeze(reset, op.const(np.array([2], np.int64))))  # (B, F)
    sizes = op.abs(falls)
    whole = op.reduce_sum(sizes, features, keepdims=1)  # (B, 1)
    left = op.sub(op.sub(z, _constant(reference)), op.reduce_sum(falls, features, keepdims=1))
    some = op.where(op.greater(whole, _constant(0.0)), whole, _constant(1.0))
    return op.add(falls, op.div(op.mul(left, sizes), some))


def _softplus(z: Var) -> Var:
    # ln(1 + exp(z)), written so that nothing overflows; the operator itself takes no float64.
    small = op.log(op.add(op.exp(op.neg(op.abs(z))), _constant(1.0)))
    return op.add(op.max([z, _constant(0.0)]), small)


def _constant(value: Any) -> Var:
    return op.const(np.float64(value))
