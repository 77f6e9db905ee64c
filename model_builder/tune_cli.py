"""``model-builder tune``: looks for better hyperparameters."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model_builder.discovery import Tasks
from model_builder.threads import let_waiting_threads_sleep

if TYPE_CHECKING:
    from rich.console import Console

    from model_builder.tuning.outcome import Outcome

INTERRUPTED = 130
"""How the program ends after Ctrl-C, as a shell would say it."""
_SHOWN = 5

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("task_name", metavar="TASK")
@click.option(
    "--trials",
    default=20,
    show_default=True,
    type=click.IntRange(1),
    help="Trials in the study, with those that it has already.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Start no trial after so long.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Processes that run trials at the same time.",
)
@click.option(
    "--pruner",
    type=click.Choice(["asha", "hyperband", "none"]),
    default="asha",
    show_default=True,
    help="What stops a trial that lags behind.",
)
@click.option(
    "--data",
    "data_name",
    metavar="PATH|NAME",
    help="A file, a folder, or a name that `data list` shows; by default the task's own.",
)
@click.option("--label", metavar="COLUMN", help="The column to predict; by default the last.")
@click.option(
    "--config", "config_file", type=_FILE, help="YAML or JSON with hyperparameters to start from."
)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="One hyperparameter to start from; repeatable.",
)
@click.option(
    "--space",
    "space_file",
    type=_FILE,
    help="YAML with bounds and choices in place of the task's own.",
)
@click.option("--seed", type=int, help="Of everything that is drawn by chance.")
@click.option(
    "--out",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the study lies; by default runs/tune/TASK.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.pass_context
def tune(
    ctx: click.Context,
    task_name: str,
    trials: int,
    timeout: float | None,
    workers: int,
    pruner: str,
    data_name: str | None,
    label: str | None,
    config_file: Path | None,
    settings: tuple[str, ...],
    space_file: Path | None,
    seed: int | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Look for better hyperparameters of TASK, by its validation; the test is never looked at.

    The study lies in a file and goes on where it stopped: after Ctrl-C, a crash or a kill, run
    the same command again. The best is written as a file for `build --config`.
    """
    tasks = ctx.ensure_object(Tasks)
    click.Choice(tasks.names()).convert(task_name, None, ctx)
    let_waiting_threads_sleep()
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("starting …"):  # what follows imports torch
        from model_builder.terminal import TerminalProgress
        from model_builder.tuning.trials import Job
        from model_builder.tuning.tuner import tune as run

    job = Job.model_validate(
        {
            "package": tasks.package,
            "task": task_name,
            "data": data_name,
            "label": label,
            "config_file": config_file and config_file.absolute(),
            "settings": settings,
            "seed": seed,
            "space_file": space_file and space_file.absolute(),
            "folder": (folder or Path("runs", "tune", task_name)).absolute(),
            "trials": trials,
            "pruner": pruner,
            "deadline": None if timeout is None else time.time() + timeout,
        }
    )
    outcome = run(job, workers, TerminalProgress(console))
    _show(console, outcome, task_name, trials)
    if as_json:
        click.echo(json.dumps(outcome.as_json(), allow_nan=False))
    if outcome.interrupted:
        ctx.exit(INTERRUPTED)


def _show(console: Console, outcome: Outcome, task_name: str, trials: int) -> None:
    from model_builder.terminal import plain_table

    complete = [trial for trial in outcome.trials if trial.state.name == "COMPLETE"]
    ranked = sorted(complete, key=lambda trial: -(trial.value or 0.0))[:_SHOWN]
    header = ("trial", outcome.metric, "hyperparameters")
    rows = [(str(trial.number), f"{trial.value:.4f}", _settings(trial.params)) for trial in ranked]
    console.print(plain_table(header, [("start", f"{outcome.defaults:.4f}", ""), *rows]))
    if outcome.importance:
        shares = [(key, f"{share:.0%}") for key, share in outcome.importance.items()]
        console.print()
        console.print(plain_table(("hyperparameter", "importance"), shares))
    console.print()
    for line in _closing_lines(outcome, task_name, trials):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _closing_lines(outcome: Outcome, task_name: str, trials: int) -> list[str]:
    done, data = len(outcome.trials), outcome.as_json()
    pruned = sum(trial.state.name == "PRUNED" for trial in outcome.trials)
    lines = [
        f"{done} trials, {pruned} of them stopped early; {outcome.metric} {outcome.value:.4f}, "
        f"started from {outcome.defaults:.4f}.",
        f"  best      {data['config']}",
        f"  plots     {data['report']}",
        f"Next: model-builder build {task_name} --config {data['config']}",
    ]
    if done < trials:
        lines.append(f"{trials - done} trials are left: the same command goes on with them.")
    return lines


def _settings(params: dict[str, Any]) -> str:
    return " ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in params.items()
    )
