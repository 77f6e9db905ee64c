"""From the options of a command to the session that surrounds a training."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from model_builder.errors import ConfigInvalid, RunUnusable
from model_builder.task import ResolvedData, TaskConfig
from model_builder.tracking.journals import Journals, open_journals
from model_builder.tracking.runs import (
    DEFAULT_RUNS,
    Run,
    RunFolder,
    all_runs,
    differences,
    flat,
    new_run_id,
)
from model_builder.training.devices import agree, is_first_process
from model_builder.training.session import Session


@dataclass(frozen=True)
class TrackingOptions:
    """What a command line says of the run."""

    runs: Path = Path(DEFAULT_RUNS)
    run: str | None = None
    """Its name."""
    resume: bool = False
    track: tuple[str, ...] = ()
    profile: bool = False


@dataclass
class Outcome:
    """What became of a run; the caller fills it in."""

    release: str = ""
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def run_to_resume(options: TrackingOptions, task: str) -> RunFolder | None:
    """Return the run that is gone on with: the named one, or the task's last unfinished one.

    ``None`` if a run is named that has not begun: it begins now.

    Raises:
        RunUnusable: If no run is named and none of the task is unfinished, or it is finished.
    """
    if options.run is not None:
        folder = RunFolder(options.runs, options.run)
        if not folder.exists():
            return None
    else:
        open_runs = [
            run for run in all_runs(options.runs) if run.task == task and run.state != "finished"
        ]
        if not open_runs:
            raise RunUnusable(task, f"no run of it in {options.runs} is unfinished")
        folder = RunFolder(options.runs, open_runs[-1].id)
    run = folder.read()
    if run.task != task:
        raise RunUnusable(run.id, f"is of the task {run.task}, not {task}")
    if run.state == "finished":
        raise RunUnusable(run.id, f"is finished, and gave {run.release or 'no release'}")
    return folder


@contextmanager
def tracked(
    options: TrackingOptions, task: str, data: ResolvedData, config: TaskConfig
) -> Iterator[Outcome]:
    """Surround a training with its run: it begins, is written down, and ends.

    Raises:
        RunUnusable: If a run cannot be gone on with, or its name is taken.
        ConfigInvalid: If a run is gone on with by another configuration.
        TrackerMissing: If the library of a tracker is not installed.
    """
    earlier = run_to_resume(options, task) if options.resume else None
    name = earlier.name if earlier else options.run or new_run_id(task)
    folder = RunFolder(options.runs, agree(name))
    if not is_first_process():
        with Session(run_id=folder.name, folder=folder.path, resume=options.resume):
            yield Outcome()
        return
    run = _begin(folder, earlier is not None, task, data, config)
    journals = open_journals(folder.path, run, options.track)
    folder.write(run)
    outcome = Outcome()
    session = Session(
        run_id=run.id,
        folder=folder.path,
        journal=journals,
        resume=options.resume,
        profile=options.profile,
    )
    try:
        with session:
            yield outcome
    except BaseException as error:
        _end(folder, journals, run.model_copy(update={"state": "failed", "cause": _cause(error)}))
        raise
    metrics = {split: dict(values) for split, values in outcome.metrics.items()}
    ended = {"state": "finished", "release": outcome.release, "metrics": metrics}
    _end(folder, journals, run.model_copy(update=ended))
    shutil.rmtree(folder.path / "checkpoints", ignore_errors=True)


def _begin(
    folder: RunFolder, goes_on: bool, task: str, data: ResolvedData, config: TaskConfig
) -> Run:
    settings = config.model_dump(mode="json")
    now = datetime.now(UTC).replace(microsecond=0)
    who = {"host": socket.gethostname(), "process": os.getpid()}
    if not goes_on:
        if folder.exists():
            raise RunUnusable(folder.name, "has begun already; --resume goes on with it")
        return Run(
            id=folder.name,
            task=task,
            data=data.name,
            data_sha256=data.sha256,
            config=settings,
            started=now,
            **who,
        )
    run = folder.read()
    if run.data_sha256 != data.sha256:
        raise RunUnusable(run.id, f"learns from other data ({run.data}) than '{data.name}' now")
    before, after = flat(run.config), flat(settings)
    faults = [
        f"{key}: run '{run.id}' was begun with {before.get(key)!r}, not {after.get(key)!r}"
        for key in differences(run.config, settings)
    ]
    if faults:
        raise ConfigInvalid(faults)
    return run.model_copy(update={"state": "running", "ended": None, "cause": "", **who})


def _end(folder: RunFolder, journals: Journals, run: Run) -> None:
    run = run.model_copy(update={"ended": datetime.now(UTC).replace(microsecond=0)})
    journals.finish(run)
    folder.write(run)


def _cause(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
