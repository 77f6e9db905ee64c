"""From a job to an outcome: opens the study, runs what is missing, writes what was found."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial

from model_builder.progress import Progress
from model_builder.tuning import outcome as outcomes
from model_builder.tuning.outcome import Outcome
from model_builder.tuning.report import write_report
from model_builder.tuning.space import holds, value_at
from model_builder.tuning.study import (
    complete,
    defaults_value,
    finished,
    identify,
    lock,
    open_study,
    revive,
    set_defaults_value,
)
from model_builder.tuning.trials import Job, Prepared, measure, prepare, run_trials
from model_builder.tuning.workers import run_in_workers


def tune(job: Job, workers: int, progress: Progress) -> Outcome:
    """Run trials until the study has ``job.trials`` of them, and write the best config.

    A study that is there goes on: trials that a killed process left running are run again.

    Args:
        job: What is tuned.
        workers: Processes; 1 is this one.
        progress: Shows the trials.

    Raises:
        BuilderError: If the job is at fault, or the folder holds another study.
    """
    with lock(job.folder):
        prepared = prepare(job, progress)
        study = open_study(job.folder, trials=job.trials)
        identify(study, job.folder, _identity(prepared))
        if revived := revive(study):
            progress.say(f"{revived} trials were cut off and are run again.")
        interrupted = False
        try:
            _start(study, prepared, progress)
            _run(study, prepared, workers, progress)
        except KeyboardInterrupt:
            interrupted = True
            if defaults_value(study) is None:
                raise  # nothing is known yet
        outcome = outcomes.outcome_of(
            study,
            task=job.task,
            data=prepared.data.name,
            metric=prepared.tuning.metric,
            folder=job.folder,
            interrupted=interrupted,
        )
        outcomes.write_best(outcome, prepared.config)
        write_report(outcome, study)
    return outcome


def _identity(prepared: Prepared) -> dict[str, object]:
    return {
        "task": prepared.job.task,
        "data": prepared.data.sha256,
        "label": prepared.data.label,
        "metric": prepared.tuning.metric,
        "configuration": prepared.config.model_dump(mode="json"),
        "search space": {
            key: dimension.model_dump(mode="json") for key, dimension in prepared.space.items()
        },
    }


def _start(study: optuna.Study, prepared: Prepared, progress: Progress) -> None:
    """Measure what the trials start from; let the first trial be as near to it as can be."""
    if defaults_value(study) is None:
        with progress.stage("measure the start"):
            set_defaults_value(study, measure(prepared, prepared.config))
    if not study.trials:
        start = {key: value_at(prepared.config, key) for key in prepared.space}
        study.enqueue_trial(
            {key: value for key, value in start.items() if holds(prepared.space[key], value)}
        )


def _run(study: optuna.Study, prepared: Prepared, workers: int, progress: Progress) -> None:
    job = prepared.job
    done = len(finished(study))
    with progress.stage("trials", job.trials) as bar:
        bar.advance(done, _best_text(study))

        def told(trial: FrozenTrial) -> None:
            bar.advance(1, _best_text(study))

        count = job.trials - done
        if count > 0 and workers > 1:
            run_in_workers(job, count, workers, study, told)
        elif count > 0:
            run_trials(prepared, count, told)


def _best_text(study: optuna.Study) -> str:
    ranked = complete(study)
    best = f"best {ranked[0].value:.4f} by trial {ranked[0].number}, " if ranked else ""
    return f"{best}start {defaults_value(study):.4f}"
