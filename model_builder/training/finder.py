"""Looks for a learning rate: raises it at each step and watches the loss.

Smith 2015, "Cyclical Learning Rates for Training Neural Networks" (arXiv:1506.01186).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from model_builder.errors import BuilderError

LOWEST, HIGHEST = 1e-6, 1.0
_BELOW_THE_LOWEST = 10.0
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
    """Smoothed over the steps around."""
    suggestion: float
    """A tenth of where the loss is lowest: there it still falls, and does not yet jump."""


class LearningRateFound(Exception):
    """Ends a training that was a search only; carries what was found."""

    def __init__(self, curve: LearningRateCurve) -> None:
        super().__init__()
        self.curve = curve


def search(
    optimizer: torch.optim.Optimizer,
    step: Callable[[], float],
    steps: int,
    learning_rate: float,
) -> LearningRateCurve:
    """Try learning rates from low to high.

    Args:
        optimizer: Its groups' learning rates are set; they keep their ratios.
        step: Takes one step with the next batch, and returns its loss.
        steps: How many learning rates to try at most.
        learning_rate: The one that the groups' were made from; what is tried takes its place.

    Raises:
        LearningRateNotFound: If the loss never falls.
    """
    # A schedule has begun already, and has kept what was before it.
    whole = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    ratios = [rate / learning_rate for rate in whole]
    rates: list[float] = []
    losses: list[float] = []
    for number in range(steps):
        rate = LOWEST * (HIGHEST / LOWEST) ** (number / max(1, steps - 1))
        for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
            group["lr"] = rate * ratio
        loss = step()
        if not math.isfinite(loss):
            break
        rates.append(rate)
        losses.append(loss)
        if loss > _TOO_MUCH * min(losses):
            break
    smooth = _smooth(losses, reach=steps // 25)
    return LearningRateCurve(tuple(rates), tuple(smooth), _suggestion(rates, smooth, steps))


def _smooth(losses: list[float], reach: int) -> list[float]:
    """Average each loss with those ``reach`` before and after it: batches differ."""
    around = (losses[max(0, place - reach) : place + reach + 1] for place in range(len(losses)))
    return [sum(some) / len(some) for some in around]


def _suggestion(rates: list[float], losses: list[float], steps: int) -> float:
    """Return a tenth of the learning rate at which the loss is lowest."""
    lowest = losses.index(min(losses)) if losses else 0
    if lowest == 0:
        raise LearningRateNotFound(steps)
    return rates[lowest] / _BELOW_THE_LOWEST


def write(curve: LearningRateCurve, folder: Path) -> tuple[Path, Path]:
    """Write the curve as JSON and as a plot into ``folder``; return both files."""
    from matplotlib.figure import Figure  # slow to import

    folder.mkdir(parents=True, exist_ok=True)
    numbers, plot = folder / "learning_rate.json", folder / "learning_rate.png"
    numbers.write_text(json.dumps(asdict(curve)) + "\n")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve.rates, curve.losses)
    axes.axvline(curve.suggestion, color="tab:orange", label=f"suggested: {curve.suggestion:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss (smoothed)")
    axes.legend()
    figure.savefig(plot)
    return numbers, plot
