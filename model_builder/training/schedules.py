"""How the learning rate rises and falls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from model_builder.training.config import TrainingConfig

Factor = Callable[[float], float]


class Schedule:
    """Sets the learning rate after each step, and after each validation."""

    def __init__(self, optimizer: torch.optim.Optimizer, steps: int, config: TrainingConfig):
        """Begin with the learning rate of the first step.

        Args:
            optimizer: Its groups' learning rates are the highest.
            steps: Of the whole training.
            config: The shape.
        """
        self._optimizer = optimizer
        self._steps = LambdaLR(optimizer, learning_rate_factor(steps, config))
        self._warmup = _warmup_steps(steps, config)
        self._plateau = None
        if config.schedule == "plateau":
            self._plateau = ReduceLROnPlateau(
                optimizer, "max", config.drop_factor, config.plateau_patience
            )

    @property
    def learning_rate(self) -> float:
        """Of the last group: the head's, where layers have rates of their own."""
        return float(self._optimizer.param_groups[-1]["lr"])

    def step(self) -> None:
        """Go on by one step of the optimiser."""
        if self._plateau is None or self._steps.last_epoch < self._warmup:
            self._steps.step()

    def validated(self, value: float) -> None:
        """Take note of a validation, of which higher is better."""
        if self._plateau is not None and self._steps.last_epoch >= self._warmup:
            self._plateau.step(value)

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedule stands."""
        plateau = self._plateau.state_dict() if self._plateau is not None else {}
        return {"steps": self._steps.state_dict(), "plateau": plateau}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where a schedule stood; the optimiser brings its learning rates itself."""
        self._steps.load_state_dict(state["steps"])
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])


def learning_rate_factor(steps: int, config: TrainingConfig) -> Callable[[int], float]:
    """Return the factor on the learning rate at each step: 0 to 1, then down."""
    warmup = _warmup_steps(steps, config)
    shape = _shape(config)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return shape(min((step - warmup) / max(1, steps - warmup), 1.0))

    return factor


def _warmup_steps(steps: int, config: TrainingConfig) -> int:
    return max(1, round(steps * config.warmup_share))


def _shape(config: TrainingConfig) -> Factor:
    """Return the factor by the share of the steps after the warm-up that are done."""
    end = config.final_share
    match config.schedule:
        case "cosine":
            return lambda done: end + (1 - end) * 0.5 * (1 + math.cos(math.pi * done))
        case "linear":
            return lambda done: end + (1 - end) * (1 - done)
        case "step":
            # A share such as 0.1 is a little less or more than what it is written as.
            return lambda done: config.drop_factor ** math.floor(done / config.drop_share + 1e-9)
        case "plateau" | "constant":
            return lambda done: 1.0
