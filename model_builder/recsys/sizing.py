"""What ``auto`` means: the size of the network and of its training by the size of the log.

A small log is learnt by heart long before it is understood: it wants few weights and much dropout.
A large one wants width and depth, and pays for them in time. ``docs/recommend.md`` says on which
data the steps below were measured.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import Splits

_LARGE = 500_000
"""Interactions from which on a log wants the larger network."""
_LEARNT = 30_000_000
"""Items that a large network learns from in all epochs together: ``docs/performance.md`` has what
that takes."""
_EPOCHS = (5, 30)
_TAKEN_WHOLE = 5000
"""Items of a catalogue that the loss is summed over; of a larger one they are drawn."""
_DRAWN = 2048


@dataclass(frozen=True)
class Shape:
    """How large a log is."""

    items: int
    interactions: int
    """That are learnt from."""
    usual_history: float
    """Items that a user has, seen from an interaction: half of all belong to longer ones."""

    @staticmethod
    def of(splits: Splits, item_count: int) -> Shape:
        """Measure what is learnt from."""
        lengths = np.sort(splits.training.lengths)
        half = np.searchsorted(np.cumsum(lengths), lengths.sum() / 2)
        return Shape(item_count, int(lengths.sum()), float(lengths[half]))


@dataclass(frozen=True)
class Sizes:
    """What decides the network and its training, ``auto`` as numbers; as in ``RecsysConfig``."""

    history_length: int
    width: int
    layers: int
    heads: int
    dropout: float
    epochs: int
    patience: int
    batch_size: int
    negatives: int
    time_gaps: bool = False


def sizes_for(config: RecsysConfig, shape: Shape) -> Sizes:
    """Return the numbers that ``config`` has, or for ``auto`` those that fit ``shape``."""
    given: dict[str, Any] = {
        field.name: getattr(config, field.name)
        for field in fields(Sizes)
        if getattr(config, field.name) != "auto"
    }
    usual = _usual(shape)
    if "width" in given and "heads" not in given:
        usual["heads"] = max(
            heads for heads in range(1, usual["heads"] + 1) if given["width"] % (2 * heads) == 0
        )
    elif "heads" in given and "width" not in given:
        usual["width"] += -usual["width"] % (2 * given["heads"])
    return Sizes(**{**usual, **given})


def _usual(shape: Shape) -> dict[str, Any]:
    if shape.interactions < _LARGE:
        sizes = {"history_length": 50, "width": 64, "layers": 1, "heads": 1, "dropout": 0.4}
        epochs = 12
    else:
        sizes = {"history_length": 200, "width": 128, "layers": 2, "heads": 2, "dropout": 0.2}
        least, most = _EPOCHS
        epochs = min(most, max(least, round(_LEARNT / shape.interactions)))
    if shape.usual_history < sizes["history_length"]:
        sizes["history_length"] = 50
    return {
        **sizes,
        "epochs": epochs,
        # The best epochs are the last, when the learning rate is low: not soon out of patience.
        "patience": max(3, epochs // 3),
        "batch_size": 32,
        "negatives": 0 if shape.items <= _TAKEN_WHOLE else _DRAWN,
    }
