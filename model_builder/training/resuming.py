"""Everything of a training that has to be as it was for it to go on."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from torch.optim.swa_utils import AveragedModel

from model_builder.errors import RunUnusable
from model_builder.training.checkpoint import (
    Keeper,
    Standing,
    Weights,
    random_state,
    set_random_state,
)
from model_builder.training.devices import whole
from model_builder.training.schedules import Schedule


class Resumable:
    """The parts of a training that change: takes their state, and gives it back to them."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        average: AveragedModel | None,
        sharded: bool,
    ) -> None:
        """Hold the parts.

        Args:
            accelerator: Knows the processes.
            model: Not wrapped.
            optimizer: As accelerate prepared it.
            schedule: Of the learning rate.
            average: Of the weights, if one is kept.
            sharded: Whether each process has only a part of the model and the optimiser.
        """
        self._accelerator = accelerator
        self.model = model
        self._optimizer = optimizer
        self._schedule = schedule
        self._average = average
        self._sharded = sharded

    def write(self, keeper: Keeper, standing: Standing) -> None:
        """Write a checkpoint; every process takes part, the first one writes."""
        accelerator = self._accelerator
        chance: list[dict[str, Any]] = gather_object([random_state()])
        state = {
            "model": copy_of_weights(self.model),
            "optimizer": self._optimizer_state(),
            "schedule": self._schedule.state_dict(),
            "average": self._average.state_dict() if self._average is not None else {},
            "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else {},
            "chance": chance,
            "standing": standing.state_dict(),
        }
        if accelerator.is_main_process:
            keeper.write(state)
        keeper.has_written = True
        accelerator.wait_for_everyone()

    def restore(self, keeper: Keeper, run: str) -> Standing:
        """Have everything as in the last checkpoint; return how far it had come.

        Raises:
            RunUnusable: If another number of processes trained.
        """
        state = keeper.read()
        if state is None:
            return Standing()
        accelerator, processes = self._accelerator, len(state["chance"])
        if processes != accelerator.num_processes:
            raise RunUnusable(
                run, f"{processes} processes trained it, and {accelerator.num_processes} go on"
            )
        standing = Standing.of(state["standing"])
        if standing.finished:
            return standing
        self._load(state)
        self._schedule.load_state_dict(state["schedule"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(state["scaler"])
        set_random_state(state["chance"][accelerator.process_index])
        return standing

    def _optimizer_state(self) -> dict[str, Any]:
        if self._sharded:
            from torch.distributed.checkpoint import state_dict as sharded

            options = sharded.StateDictOptions(full_state_dict=True, cpu_offload=True)
            return sharded.get_optimizer_state_dict(self.model, self._optimizer, options=options)
        return self._optimizer.state_dict()

    def _load(self, state: dict[str, Any]) -> None:
        if self._sharded:
            from torch.distributed.checkpoint import state_dict as sharded

            options = sharded.StateDictOptions(full_state_dict=True, cpu_offload=True)
            optimizer, moved = self._optimizer, state["optimizer"]
            sharded.set_model_state_dict(self.model, state["model"], options=options)
            sharded.set_optimizer_state_dict(self.model, optimizer, moved, options=options)
        else:
            self.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])


def copy_of_weights(model: nn.Module) -> Weights:
    """Return the whole weights, on the CPU."""
    return {name: whole(value.detach()).cpu().clone() for name, value in model.state_dict().items()}
