"""What a training is told and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import torch
from torch import nn

from model_builder.training.config import TrainingConfig

Batch = TypeVar("Batch")
BatchOut = TypeVar("BatchOut", covariant=True)


@dataclass(frozen=True)
class FitSettings:
    """How to train."""

    epochs: int
    batch_size: int
    """Rows of a batch; the loop only records it, the task makes the batches."""
    learning_rate: float
    """The highest, at the end of the warm-up."""
    weight_decay: float = 0.01
    patience: int = 5
    """Epochs without a better validation before training stops."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """Everything that is the same for all tasks."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training data gave."""

    number: int
    """From 0."""
    loss: float
    """Mean over the steps."""
    validation: float


@dataclass(frozen=True)
class FitResult:
    """How training went; the network itself holds the best weights."""

    best: float
    """The best validation, higher is better."""
    best_epoch: int
    epochs: int
    """Epochs run."""
    history: tuple[Epoch, ...]


class Batches(Protocol[BatchOut]):
    """The batches of one epoch, each made when it is asked for, such as a list of them.

    A training that goes on takes them from the middle, and ``workers`` take different ones, so
    what a place holds must depend on nothing but the place.
    """

    def __len__(self) -> int:
        """Return their number."""
        ...

    def __getitem__(self, place: int, /) -> BatchOut:
        """Return one: a tuple or dict of tensors on the CPU, each with the rows first."""
        ...


Loss = Callable[[nn.Module, Batch], torch.Tensor]
"""The mean loss of a batch, shape ``()``."""
