"""The toy is best with a learning rate of 0.3 and 7 epochs; no network has to be trained for it."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from model_builder.errors import TrainingDiverged
from model_builder.progress import Progress
from model_builder.task import ResolvedData, TaskConfig
from model_builder.tuning.tunable import Objective, Watch

STOP = "TOY_TUNING_STOPS_AT"
"""Names a file: while it is there, a trial says so beside it and waits."""


class ToyTuning:
    metric = "closeness"
    measured = frozenset({"seed"})

    def prepare(self, data: ResolvedData, config: TaskConfig, progress: Progress) -> Objective:
        def objective(config, watch: Watch) -> float:
            _wait()
            if config.shift:
                raise TrainingDiverged(0, math.nan)
            value = 1 - math.log10(config.learning_rate / 0.3) ** 2
            value -= 0.01 * (config.epochs - 7) ** 2
            for epoch in range(config.epochs):
                watch(epoch, value - 1 / (epoch + 1))
            return value

        return objective


def _wait() -> None:
    path = Path(os.environ.get(STOP, "/nowhere"))
    while path.exists():
        path.with_suffix(".waiting").touch()
        time.sleep(0.02)


TUNING = ToyTuning()
