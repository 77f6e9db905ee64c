"""The study: every trial in an SQLite file, kept however the tuning ends."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, event

from model_builder.tuning.errors import StudyBusy, StudyDiffers

PrunerName = Literal["asha", "hyperband", "none"]

FILE = "study.db"
_NAME = "tuning"
_IDENTITY = "identity"
_DEFAULTS = "defaults"
_LEAST_EPOCHS = 8
"""Before a trial can be stopped: the first say more of the learning rate than of the end."""
_REDUCTION = 2
"""The share of the trials that goes on at each rung is one in so many."""
_LOCKED_S = 60
"""How long a process waits for another one's write."""


def open_study(
    folder: Path,
    *,
    seed: int = 0,
    worker: int = 0,
    trials: int = 20,
    pruner: PrunerName = "asha",
) -> optuna.Study:
    """Return the study in ``folder``, which may be new.

    Args:
        folder: Where its file lies.
        seed: Of the sampler. Together with the worker and the trials that there are, so that a
            study that goes on does not draw again what it has drawn.
        worker: Its number.
        trials: How many there shall be; a third of them is drawn by chance.
        pruner: What stops trials early.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{folder / FILE}", engine_kwargs={"connect_args": {"timeout": _LOCKED_S}}
    )
    event.listen(storage.engine, "connect", _write_ahead)
    event.listen(storage.engine, "begin", _begin_alone)
    storage.engine.dispose()  # connections from before know nothing of it
    study = optuna.create_study(
        storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True
    )
    draws = np.random.SeedSequence([seed, len(study.trials), worker]).generate_state(1)
    study.sampler = TPESampler(
        seed=int(draws[0]), n_startup_trials=min(10, max(3, trials // 3)), multivariate=True
    )
    study.pruner = _pruner(pruner)
    return study


def identify(study: optuna.Study, folder: Path, identity: Mapping[str, Any]) -> None:
    """Write down what the study is of; a study of something else is refused.

    Raises:
        StudyDiffers: If the study in the folder is of something else.
    """
    wanted = json.loads(json.dumps(identity))
    known = study.user_attrs.get(_IDENTITY)
    if known is None:
        study.set_user_attr(_IDENTITY, wanted)
    elif known != wanted:
        raise StudyDiffers(
            folder, [key for key in wanted if known.get(key) != wanted[key]] or ["identity"]
        )


def defaults_value(study: optuna.Study) -> float | None:
    """Return the metric of the config that the trials start from, once it is measured."""
    value = study.user_attrs.get(_DEFAULTS)
    return None if value is None else float(value)


def set_defaults_value(study: optuna.Study, value: float) -> None:
    """Write down the metric of the config that the trials start from."""
    study.set_user_attr(_DEFAULTS, value)


def revive(study: optuna.Study) -> int:
    """Put trials that a killed process left running back into the queue; return how many.

    Only for a process that holds the :func:`lock`: nobody else then runs a trial.
    """
    dead = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in dead:
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={"instead_of": trial.number})
    return len(dead)


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that said something: complete ones and those stopped early."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """Return the complete trials, best first."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(trials, key=lambda trial: (-(trial.value or 0.0), trial.number))


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Be the only one who tunes in ``folder``; the system lets go when the process dies.

    Raises:
        StudyBusy: If another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StudyBusy(folder) from error
        yield


def _write_ahead(connection: sqlite3.Connection, _: object) -> None:
    """Let no writer wait for the disk and no reader for a writer; a kill loses nothing."""
    connection.isolation_level = None  # sqlite3 begins nothing by itself: see _begin_alone
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_alone(connection: Connection) -> None:
    """Let nobody else look and then write between our look and our write.

    Otherwise two workers can take the same trial out of the queue: SQLite knows no lock on a row,
    which is what optuna asks for.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _pruner(name: PrunerName) -> BasePruner:
    if name == "asha":
        return SuccessiveHalvingPruner(min_resource=_LEAST_EPOCHS, reduction_factor=_REDUCTION)
    if name == "hyperband":
        return HyperbandPruner(min_resource=_LEAST_EPOCHS, reduction_factor=_REDUCTION)
    return NopPruner()
