"""The straight part of a network begins as the regression that is hard to beat on few rows.

First the best linear answer, then what a network can add to it: as with a pretrained network,
whose new head is found before the layers below learn (Kumar et al. 2022, arXiv:2202.10054).

``M`` member, ``D`` column of the prepared input, ``K`` logit.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from model_builder.evaluation.calibration import logits_loss
from model_builder.tabular.splits import HeldOut

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Of how freely the regression may fit, scikit-learn's ``C``."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of what the network adds to the regression."""

Floats = npt.NDArray[np.floating[Any]]


class LinearStart(NamedTuple):
    """A regression for each member."""

    weight: Floats
    """``(M, D, K)``."""
    bias: Floats
    """``(M, 1, K)``."""


def linear_start(
    inputs: npt.NDArray[np.float32], target: npt.NDArray[np.int64], held_out: HeldOut, logits: int
) -> LinearStart:
    """Return each member's regression on the rows that it may learn from.

    How strongly they are held back, the rows choose that they have not seen.

    Args:
        inputs: ``(rows, D)`` float32, prepared.
        target: ``(rows,)`` int64.
        held_out: ``(rows, M)``.
        logits: K; 1 for the log-odds of class 1.
    """
    # In float64: its solver warns about a float32 that it cannot improve any more.
    exact = inputs.astype(np.float64)
    starts = [_fitted(exact, target, held_out, logits, strength) for strength in STRENGTHS]
    return min(starts, key=lambda start: held_out_loss(start, exact, target, held_out))


def best_share(straight: Floats, whole: Floats, target: npt.NDArray[np.int64]) -> float:
    """Return how much of what lies between two answers is best: 0 for the first, 1 for the second.

    Args:
        straight: ``(rows, K)``, what the linear path alone answers for rows that nobody has seen.
        whole: ``(rows, K)``, with all that was added.
        target: ``(rows,)``.
    """

    def loss(share: float) -> float:
        return logits_loss(straight + share * (whole - straight), target)

    return min(sorted(SHARES, reverse=True), key=loss)


def held_out_loss(
    start: LinearStart, inputs: Floats, target: npt.NDArray[np.int64], held_out: HeldOut
) -> float:
    """Return the log-loss of the mean answers to rows of members that have not seen them."""
    answers = np.einsum("bd,mdk->bmk", inputs, start.weight) + start.bias[:, 0]  # (rows, M, K)
    judging = held_out.any(axis=1)
    share = held_out[judging, :, None]
    mean = (answers[judging] * share).sum(axis=1) / share.sum(axis=1)
    return logits_loss(mean, target[judging])


def _fitted(
    inputs: Floats,
    target: npt.NDArray[np.int64],
    held_out: HeldOut,
    logits: int,
    strength: float,
) -> LinearStart:
    known: dict[bytes, tuple[Floats, Floats]] = {}
    members = []
    for held in held_out.T:
        key = held.tobytes()  # members of one validation split learn from the same rows
        if key not in known:
            known[key] = _regression(inputs[~held], target[~held], logits, strength)
        members.append(known[key])
    weight, bias = (np.stack(parts) for parts in zip(*members, strict=True))
    return LinearStart(weight, bias)


def _regression(
    inputs: Floats, target: npt.NDArray[np.int64], logits: int, strength: float
) -> tuple[Floats, Floats]:
    """Return ``(D, K)`` and ``(1, K)``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near the end is a good beginning
        model = LogisticRegression(C=strength, max_iter=1000).fit(inputs, target)
    weight, bias = model.coef_.T, model.intercept_[None]
    if logits == 2:  # scikit-learn keeps the difference of the two
        weight = np.concatenate([-weight, weight], axis=1) / 2
        bias = np.concatenate([-bias, bias], axis=1) / 2
    return weight, bias
