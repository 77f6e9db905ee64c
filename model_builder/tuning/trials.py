"""Runs trials in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, Trial
from pydantic import BaseModel, ConfigDict

from model_builder.config import read_config
from model_builder.datasets import resolve
from model_builder.discovery import Tasks
from model_builder.errors import TrainingDiverged
from model_builder.progress import Progress
from model_builder.task import ResolvedData, TaskConfig
from model_builder.training.seeding import seed_everything
from model_builder.tuning.space import Space, check_space, read_space, suggest, with_values
from model_builder.tuning.study import PrunerName, open_study
from model_builder.tuning.tunable import Objective, Tuning

Told = Callable[[FrozenTrial], None]


class Job(BaseModel):
    """What is tuned, and how: everything that a worker process is told."""

    model_config = ConfigDict(frozen=True)

    package: str
    task: str
    data: str | None
    label: str | None = None
    config_file: Path | None = None
    settings: tuple[str, ...] = ()
    seed: int | None = None
    space_file: Path | None = None
    folder: Path
    trials: int
    pruner: PrunerName = "asha"
    deadline: float | None = None
    """In seconds since the epoch; no trial starts after it."""


@dataclass(frozen=True)
class Prepared:
    """A job with its data read."""

    job: Job
    tuning: Tuning
    config: TaskConfig
    """What the trials start from."""
    space: Space
    data: ResolvedData
    objective: Objective


def prepare(job: Job, progress: Progress) -> Prepared:
    """Read the config, the space and the data.

    Raises:
        BuilderError: If one of them is at fault.
    """
    tasks = Tasks(job.package)
    task = tasks.load(job.task)
    tuning = tasks.tuning(job.task)
    config = read_config(task.config_type, job.config_file, job.settings, job.seed)
    space = read_space(tasks.search_space(job.task), job.space_file)
    check_space(space, config, tuning.measured)
    data = resolve(job.data or task.default_data, label=job.label, progress=progress)
    return Prepared(job, tuning, config, space, data, tuning.prepare(data, config, progress))


def measure(prepared: Prepared, config: TaskConfig) -> float:
    """Return the metric of one config."""
    seed_everything(config.seed)
    return float(prepared.objective(config, lambda epoch, value: None))


def run_trials(prepared: Prepared, count: int, told: Told, worker: int = 0) -> None:
    """Run ``count`` trials, or as many as there is time for.

    Args:
        prepared: What is tuned.
        count: How many.
        told: Takes each trial that ended.
        worker: The number of this process.

    Raises:
        KeyboardInterrupt: When a person interrupts; the study keeps what is finished.
    """
    job = prepared.job
    study = open_study(
        job.folder, seed=prepared.config.seed, worker=worker, trials=job.trials, pruner=job.pruner
    )

    def objective(trial: Trial) -> float:
        config = with_values(prepared.config, suggest(trial, prepared.space, prepared.config))
        seed_everything(config.seed)

        def watch(epoch: int, value: float) -> None:
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            return float(prepared.objective(config, watch))
        except TrainingDiverged as error:
            raise optuna.TrialPruned from error  # a bad place, and known now

    timeout = None if job.deadline is None else job.deadline - time.time()
    if count > 0 and (timeout is None or timeout > 0):
        study.optimize(
            objective,
            n_trials=count,
            timeout=timeout,
            callbacks=[lambda _, trial: told(trial)],
        )
