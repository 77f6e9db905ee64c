"""Looks for a learning rate: raises it at each step and watches the loss.

Smith 2015, "Cyclical Learning Rates for Training Neural Networks" (arXiv:1506.01186).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch

from model_builder.errors import BuilderError

LOWEST, HIGHEST = 1e-6, 1.0
_SMOOTHING = 0.9
_TOO_MUCH = 4.0  # times the lowest loss: it only gets worse from here


class LearningRateNotFound(BuilderError):
    """The loss never falls."""

    def __init__(self, steps: int) -> None:
        super().__init__(
            f"no learning rate between {LOWEST:g} and {HIGHEST:g} lets the loss fall within "
            f"{steps} steps; look longer with --steps"
        )


@dataclass(frozen=True)
class LearningRateCurve:
    """The loss at each learning rate that was tried."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Smoothed over the steps before."""
    suggestion: float
    """Where the loss falls fastest by the logarithm of the learning rate."""


class LearningRateFound(Exception):
    """Ends a training that was a search only; carries what was found."""

    def __init__(self, curve: LearningRateCurve) -> None:
        super().__init__()
        self.curve = curve


def search(
    optimizer: torch.optim.Optimizer, step: Callable[[], float], steps: int
) -> LearningRateCurve:
    """Try learning rates from low to high.

    Args:
        optimizer: Its groups' learning rates are set; they keep their ratios.
        step: Takes one step with the next batch, and returns its loss.
        steps: How many learning rates to try at most.

    Raises:
        LearningRateNotFound: If the loss never falls.
    """
    highest = max(group["lr"] for group in optimizer.param_groups)
    ratios = [group["lr"] / highest for group in optimizer.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    for number in range(steps):
        rate = LOWEST * (HIGHEST / LOWEST) ** (number / max(1, steps - 1))
        for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
            group["lr"] = rate * ratio
        loss = step()
        if not math.isfinite(loss):
            break
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smooth = mean / (1 - _SMOOTHING ** (number + 1))  # the first ones weigh too little
        rates.append(rate)
        losses.append(smooth)
        if smooth > _TOO_MUCH * min(losses):
            break
    return LearningRateCurve(tuple(rates), tuple(losses), _steepest(rates, losses, steps))


def _steepest(rates: list[float], losses: list[float], steps: int) -> float:
    """Return the learning rate before the lowest loss at which it falls fastest."""
    if len(losses) < 2:
        raise LearningRateNotFound(steps)
    lowest = losses.index(min(losses))
    # Equal steps of the logarithm: the difference is the slope.
    falls = [after - before for before, after in pairwise(losses[: lowest + 1])]
    if not falls or min(falls) >= 0:
        raise LearningRateNotFound(steps)
    return rates[falls.index(min(falls)) + 1]


def write(curve: LearningRateCurve, folder: Path) -> tuple[Path, Path]:
    """Write the curve as JSON and as a plot into ``folder``; return both files."""
    from matplotlib.figure import Figure  # slow to import

    folder.mkdir(parents=True, exist_ok=True)
    numbers, plot = folder / "learning_rate.json", folder / "learning_rate.png"
    numbers.write_text(json.dumps(asdict(curve)) + "\n")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve.rates, curve.losses)
    axes.axvline(
        curve.suggestion, color="tab:orange", label=f"falls fastest at {curve.suggestion:.2g}"
    )
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss (smoothed)")
    axes.legend()
    figure.savefig(plot)
    return numbers, plot
