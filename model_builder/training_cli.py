"""The options of ``build`` that say how to train and what to write down, and ``find-lr``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model_builder.discovery import Tasks
from model_builder.option_groups import Command, gathered
from model_builder.threads import let_waiting_threads_sleep

if TYPE_CHECKING:
    from model_builder.progress import Progress
    from model_builder.task import Task, TaskConfig
    from model_builder.tracking.tracked import TrackingOptions
    from triton_models.release import Manifest

runs_option = click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default="runs",
    envvar="TRIDENT_RUNS",
    show_default=True,
    help="Where runs are written down; also TRIDENT_RUNS.",
)


def training_options(command: Command) -> Command:
    """Add the options; ``command`` gets them as one mapping, ``training``."""
    options = [
        click.option(
            "--strategy",
            type=click.Choice(["full", "lora", "dora", "head", "gradual"]),
            help="Which weights learn; short for --set training.strategy=…",
        ),
        runs_option,
        click.option(
            "--run-name", "run", metavar="NAME", help="The run's name; by default time and task."
        ),
        click.option(
            "--resume",
            is_flag=True,
            help="Go on with the run NAME, or with the task's last unfinished one.",
        ),
        click.option(
            "--track",
            multiple=True,
            type=click.Choice(["tensorboard", "wandb", "mlflow"]),
            help="Write the numbers there too, beside metrics.csv; repeatable.",
        ),
        click.option(
            "--profile-training",
            is_flag=True,
            help="Write a trace of some steps, and show where the time of a step went.",
        ),
    ]
    names = ("strategy", "runs", "run", "resume", "track", "profile_training")
    return gathered(command, "training", names, options)


def checked(training: dict[str, Any]) -> TrackingOptions:
    """Return the options about the run.

    Raises:
        click.BadParameter: If the run's name cannot be one.
    """
    from model_builder.tracking.runs import check_run_id
    from model_builder.tracking.tracked import TrackingOptions

    if training["run"] is not None:
        try:
            check_run_id(training["run"])
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--run-name") from error
    return TrackingOptions(
        runs=training["runs"],
        run=training["run"],
        resume=training["resume"],
        track=training["track"],
        profile=training["profile_training"],
    )


def configure(
    task: Task,
    options: TrackingOptions,
    file: Path | None,
    settings: Sequence[str],
    strategy: str | None,
    seed: int | None,
) -> TaskConfig:
    """Return the configuration; a run that goes on has its own, if nothing else is said."""
    from pydantic import ValidationError

    from model_builder.config import read_config
    from model_builder.errors import RunUnusable
    from model_builder.tracking.tracked import run_to_resume

    if strategy is not None:
        settings = (*settings, f"training.strategy={strategy}")
    if options.resume and file is None and not settings and seed is None:
        earlier = run_to_resume(options, task.name)
        if earlier is not None:
            try:
                return task.config_type.model_validate(earlier.read().config)
            except ValidationError as error:
                raise RunUnusable(
                    earlier.name, "its settings are not those of this task and kind of data"
                ) from error
    return read_config(task.config_type, file, settings, seed)


def metric_values(manifest: Manifest) -> dict[str, dict[str, float]]:
    """Return the metrics of a release without their intervals."""
    return {
        split: {name: metric.value for name, metric in metrics.items()}
        for split, metrics in manifest.metrics.items()
    }


def progress_of_this_process() -> Progress:
    """Return what the first of the processes shows on standard error; the others show nothing."""
    from rich.console import Console

    from model_builder.progress import SilentProgress
    from model_builder.terminal import TerminalProgress
    from model_builder.training.devices import is_first_process

    return TerminalProgress(Console(stderr=True)) if is_first_process() else SilentProgress()


def show_profile(folder: Path, progress: Progress) -> None:
    """Say where the time of a step went."""
    for file in sorted((folder / "profile").glob("*.steps.json")):
        content = json.loads(file.read_text())
        whole = content["milliseconds"].get("step", 0.0)
        progress.say(
            f"A step of '{file.name.removesuffix('.steps.json')}' took {whole:.2f} ms "
            f"(mean of {content['steps']}):"
        )
        for name, spent in content["milliseconds"].items():
            if name != "step":
                progress.say(f"  {name:<10} {spent:8.2f} ms  {spent / whole:4.0%}")
    for file in sorted((folder / "profile").glob("*.trace.json")):
        progress.say(f"  trace      {file} (chrome://tracing, Perfetto)")


@click.command("find-lr")
@click.argument("task_name", metavar="TASK")
@click.option("--data", "data_name", metavar="PATH|NAME", help="As of `build`.")
@click.option("--label", metavar="COLUMN", help="As of `build`.")
@click.option("--config", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True)
@click.option("--seed", type=int)
@click.option(
    "--steps", type=click.IntRange(10), default=100, show_default=True, help="Rates to try."
)
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.pass_context
def find_lr(
    ctx: click.Context,
    task_name: str,
    data_name: str | None,
    label: str | None,
    file: Path | None,
    settings: tuple[str, ...],
    seed: int | None,
    steps: int,
    runs: Path,
    as_json: bool,
) -> None:
    """Try learning rates for TASK from 1e-6 to 1, and plot the loss over them."""
    tasks = ctx.ensure_object(Tasks)
    click.Choice(tasks.names()).convert(task_name, None, ctx)
    let_waiting_threads_sleep()
    from model_builder.config import read_config
    from model_builder.datasets import resolve
    from model_builder.task import task_for
    from model_builder.tracking.runs import new_run_id
    from model_builder.training.finder import LearningRateFound, write
    from model_builder.training.seeding import seed_everything
    from model_builder.training.session import Session

    task = tasks.load(task_name)
    progress = progress_of_this_process()
    found = resolve(data_name or task.default_data, label=label, progress=progress)
    task = task_for(task, found)
    config = read_config(task.config_type, file, settings, seed)
    seed_everything(config.seed)
    try:
        with Session(find_learning_rate=steps):
            task.build(found, config, progress)
    except LearningRateFound as end:
        curve = end.curve
    else:
        raise click.ClickException(f"'{task_name}' trains no network")
    numbers, plot = write(curve, runs / f"{new_run_id(task_name)}-lr")
    progress.say(
        f"A learning rate of {curve.suggestion:.2g} is a tenth of where the loss was lowest."
    )
    progress.say(f"  plot  {plot}")
    progress.say(f"  model-builder build {task_name} --set learning_rate={curve.suggestion:.2g}")
    if as_json:
        found_rate = {"learning_rate": curve.suggestion, "plot": str(plot), "curve": str(numbers)}
        click.echo(json.dumps(found_rate))
