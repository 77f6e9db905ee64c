"""One step: the parts of a batch forward and backward, then the weights."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Generic

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import nn

from model_builder.training.config import TrainingConfig
from model_builder.training.devices import whole
from model_builder.training.feeding import Weigh, split
from model_builder.training.profiling import Timer
from model_builder.training.results import Batch, Loss


class Stepper(Generic[Batch]):
    """Takes steps with a network and an optimiser that accelerate has prepared."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss[Batch],
        weigh: Weigh[Batch],
        config: TrainingConfig,
        timer: Timer,
    ) -> None:
        self._accelerator = accelerator
        self._elsewhere = accelerator.device.type != "cpu"
        self._model = model
        self._weights = list(model.parameters())
        self._optimizer = optimizer
        self._loss = loss
        self._weigh = weigh
        self._config = config
        self._timer = timer

    def step(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Take one step.

        Returns:
            This process's share of the batch's mean loss, ``()``, whose mean over the processes
            is the loss; and the length of the gradient before it was clipped.
        """
        total = norm = None
        accelerator, timer = self._accelerator, self._timer
        parts = split(
            batch,
            self._config.accumulation,
            self._weigh,
            accelerator.process_index,
            accelerator.num_processes,
        )
        for number, (part, factor) in enumerate(parts, start=1):
            # Processes need to agree on the gradient only once, after the last part.
            last = number == self._config.accumulation
            with nullcontext() if last else accelerator.no_sync(self._model):
                with timer.phase("forward"):
                    value = self._loss(self._model, self._sent(part))
                    value = value if factor == 1.0 else value * factor
                with timer.phase("backward"):
                    self._backward(value)
            total = value.detach() if total is None else total + value.detach()
        with timer.phase("optimizer"):
            if self._config.clip_norm > 0:
                norm = self._clip()
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        assert total is not None
        return total, norm if norm is None else whole(norm)

    def _sent(self, part: Batch) -> Batch:
        return send_to_device(part, self._accelerator.device) if self._elsewhere else part

    def _backward(self, value: torch.Tensor) -> None:
        # Not accelerate's, which divides by a number of parts that is always 1: two operations.
        scaler = self._accelerator.scaler
        (value if scaler is None else scaler.scale(value)).backward()

    def _clip(self) -> torch.Tensor:
        """Shorten the gradient; return how long it was."""
        if self._accelerator.scaler is not None:
            self._accelerator.unscale_gradients(self._optimizer)
        # All weights at once, which torch by itself does on GPUs only.
        at_once = None if self._config.shard else True
        return nn.utils.clip_grad_norm_(self._weights, self._config.clip_norm, foreach=at_once)
