"""A small training to be tried out, also one that can be killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from model_builder.progress import SilentProgress
from model_builder.training.config import TrainingConfig
from model_builder.training.devices import is_first_process
from model_builder.training.loop import FitResult, FitSettings, fit
from model_builder.training.seeding import seed_everything
from model_builder.training.session import Session

ROWS, BATCH = 96, 16
Rows = tuple[torch.Tensor, torch.Tensor]


def rows() -> Rows:
    """``(96, 6)`` inputs and ``(96,)`` classes that follow from them."""
    inputs = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(1))
    return inputs, (inputs[:, 0] * inputs[:, 1] + inputs[:, 2] > 0).long()


def network(width: int = 16, blocks: int = 2, dropout: float = 0.0) -> nn.Module:
    """A residual network of like blocks, ``blocks``, between ``enter`` and ``head``."""
    return nn.Sequential(
        nn.Linear(6, width),
        nn.Sequential(*(Block(width, dropout) for _ in range(blocks))),
        nn.Linear(width, 2),
    )


class Block(nn.Module):
    """Adds what two layers find."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x + self.outer(self.dropout(torch.relu(self.inner(self.norm(x)))))


def batches(epoch: int) -> list[Rows]:
    """Six batches in an order of the epoch's own."""
    inputs, classes = rows()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(epoch))
    return [(inputs[some], classes[some]) for some in order.split(BATCH)]


def loss(model: nn.Module, batch: Rows) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def accuracy(model: nn.Module) -> float:
    inputs, classes = rows()
    return float((model(inputs).argmax(1) == classes).float().mean())


def train(
    model: nn.Module,
    epochs: int = 4,
    learning_rate: float = 0.01,
    loss: Callable[[nn.Module, Rows], torch.Tensor] = loss,
    validate: Callable[[nn.Module], float] = accuracy,
    **training: Any,
) -> FitResult:
    """Train for six steps an epoch, as ``training`` says."""
    return fit(
        model,
        batches=batches,
        steps=epochs * ROWS // BATCH,
        loss=loss,
        validate=validate,
        settings=FitSettings(
            epochs, BATCH, learning_rate, patience=epochs, training=TrainingConfig(**training)
        ),
        progress=SilentProgress(),
    )


class _Killing:
    """Kills the process when it has taken some steps; counts the steps of this process."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(self, *_: object) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def main(folder: Path, options: dict[str, Any]) -> None:
    """Train as ``options`` say, with the run in ``folder``, and write ``folder/result.pt``."""
    torch.set_num_threads(1)
    kill_after = options.pop("kill_after", None)
    resume = options.pop("resume", False)
    dropout = options.pop("dropout", 0.0)
    seed_everything(3)
    model = network(dropout=dropout)
    if kill_after is not None:
        register_optimizer_step_pre_hook(_Killing(kill_after))
    with Session(run_id="small", folder=folder, resume=resume):
        result = train(model, **options)
    if is_first_process():
        torch.save(
            {
                "weights": model.state_dict(),
                "history": [vars(epoch) for epoch in result.history],
                "best_epoch": result.best_epoch,
            },
            folder / "result.pt",
        )
