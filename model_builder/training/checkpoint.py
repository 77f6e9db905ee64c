"""Where a training stands, on disk: written whole or not at all.

A checkpoint is one file of tensors and plain values (``torch.save``), read with
``weights_only=True``: reading one never runs code.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_builder.training.config import TrainingConfig
from model_builder.training.results import Epoch

Weights = dict[str, torch.Tensor]


@dataclass
class Standing:
    """How far a training has come."""

    epoch: int = 0
    """The one that runs, from 0."""
    step: int = 0
    """Batches of that epoch that are done."""
    steps: int = 0
    """Batches of all epochs that are done."""
    loss: float = 0.0
    """Sum over the epoch's batches."""
    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_weights: Weights = field(default_factory=dict)
    finished: bool = False

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors."""
        return {
            **vars(self),
            "history": [vars(epoch) for epoch in self.history],
            "best": vars(self.best) if self.best else None,
        }

    @classmethod
    def of(cls, state: dict[str, Any]) -> Standing:
        """Return what ``state_dict`` gave."""
        history = [Epoch(**epoch) for epoch in state["history"]]
        best = Epoch(**state["best"]) if state["best"] else None
        return cls(**{**state, "history": history, "best": best})


class Keeper:
    """Writes checkpoints when it is time, and finds the last one."""

    def __init__(self, path: Path | None, config: TrainingConfig, processes: int) -> None:
        """Keep one checkpoint.

        Args:
            path: Its file; ``None`` keeps nothing.
            config: How often.
            processes: That train together. Their clocks differ, so that several of them, unless
                they go by steps, keep one at the end of each epoch.
        """
        self._path = path
        self._steps = config.checkpoint_steps
        self._seconds = config.checkpoint_seconds
        self._alone = processes == 1
        self._written = time.monotonic()
        self.has_written = False
        """Whether there is a checkpoint; of every process, though only the first writes."""

    def due(self, steps: int, epoch_ended: bool) -> bool:
        """Say whether it is time, ``steps`` after the beginning."""
        if self._path is None:
            return False
        if self._steps and not epoch_ended and steps % self._steps == 0:
            return True
        if not self._alone:
            return epoch_ended and bool(self._seconds)
        return bool(self._seconds) and time.monotonic() - self._written >= self._seconds

    def write(self, state: dict[str, Any]) -> None:
        """Write ``state`` in place of the last one, in one instant."""
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own: who is killed while writing leaves the last one as it was.
        unfinished = self._path.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path)
        self._written = time.monotonic()

    def read(self) -> dict[str, Any] | None:
        """Return the last state, if there is one; on the CPU."""
        if self._path is None or not self._path.exists():
            return None
        self.has_written = True
        return torch.load(self._path, map_location="cpu", weights_only=True)


def random_state() -> dict[str, Any]:
    """Return where every source of chance of this process stands."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Have every source of chance go on from ``state``."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
