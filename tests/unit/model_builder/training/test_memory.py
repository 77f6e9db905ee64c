"""A long training does not grow by memory that is free."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from model_builder.progress import SilentProgress
from model_builder.training import loop
from model_builder.training.loop import FitSettings, fit
from model_builder.training.memory import NOTABLE_BYTES, FreeMemory


@dataclass
class Process:
    """Has so much memory, and half as much once it is trimmed."""

    resident: int
    trimmed: int = 0

    def trim(self) -> None:
        self.trimmed += 1
        self.resident //= 2


def test_free_memory_goes_back_once_there_is_notably_more() -> None:
    process = Process(4 * NOTABLE_BYTES)
    free = FreeMemory(lambda: process.resident, process.trim)
    process.resident += NOTABLE_BYTES
    free.give_back()
    assert process.trimmed == 0
    process.resident += 1
    free.give_back()
    assert process.trimmed == 1


def test_what_is_more_is_more_than_after_the_last_time() -> None:
    process = Process(2 * NOTABLE_BYTES)
    free = FreeMemory(lambda: process.resident, process.trim)
    process.resident = 6 * NOTABLE_BYTES
    free.give_back()  # three are left
    process.resident += NOTABLE_BYTES
    free.give_back()
    assert process.trimmed == 1
    process.resident += 1
    free.give_back()
    assert process.trimmed == 2


def test_each_epoch_ends_with_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    class Counted(FreeMemory):
        def give_back(self) -> None:
            looks.append(1)
            super().give_back()

    monkeypatch.setattr(loop, "FreeMemory", Counted)
    batch = (torch.ones(4, 2), torch.ones(4, 1))
    fit(
        nn.Linear(2, 1),
        batches=lambda epoch: [batch],
        steps=3,
        loss=lambda model, some: (model(some[0]) - some[1]).square().mean(),
        validate=lambda model: 0.0,
        settings=FitSettings(epochs=3, batch_size=4, learning_rate=0.1, weight_decay=0, patience=5),
        progress=SilentProgress(),
    )
    assert len(looks) == 3
