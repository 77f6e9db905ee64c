"""The command ``model-builder``: parses, delegates, prints.

Nothing heavy is imported before a command needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model_builder.compile_cli import compile_command
from model_builder.data_cli import data
from model_builder.discovery import Tasks
from model_builder.drift_cli import drift
from model_builder.errors import BuilderError
from model_builder.import_cli import import_model
from model_builder.next_steps import next_steps
from model_builder.optimize_cli import optimize
from model_builder.releases_cli import STORE_OPTION, line_and_release, releases
from model_builder.releasing_cli import how_to_release, releasing_options, showing_refusals
from model_builder.routing_cli import promote, rollback, shadow
from model_builder.runs_cli import runs_command
from model_builder.threads import let_waiting_threads_sleep
from model_builder.training_cli import (
    checked,
    configure,
    find_lr,
    metric_values,
    progress_of_this_process,
    show_profile,
    training_options,
)
from model_builder.tune_cli import tune
from model_builder.verify_cli import verify

if TYPE_CHECKING:
    from rich.console import Console

    from model_builder.build import Built
    from triton_models.release import Manifest


class BuilderGroup(click.Group):
    """Shows every error that a user can act on as one clear line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn our errors into click's, with their exit code."""
        from triton_models.store_errors import StoreError

        try:
            return super().invoke(ctx)
        except BuilderError as error:
            shown = click.ClickException(str(error))
            shown.exit_code = error.exit_code
            raise shown from error
        except StoreError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(str(error)) from error


class TaskName(click.ParamType):
    """The name of a task that exists."""

    name = "task"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return ``value`` if there is such a task."""
        assert ctx is not None
        names = ctx.ensure_object(Tasks).names()
        return str(click.Choice(names).convert(value, param, ctx))


class BuildCommand(click.Command):
    """Lists the tasks under its options."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the tasks with their summaries."""
        tasks = ctx.ensure_object(Tasks)
        with formatter.section("Tasks"):
            formatter.write_dl([(name, tasks.summary(name)) for name in tasks.names()])


@click.group(cls=BuilderGroup)
@click.version_option(package_name="trident", prog_name="model-builder")
def cli() -> None:
    """Train models, export them, and publish them as releases that Triton serves."""


@cli.command(cls=BuildCommand)
@click.argument("task_name", metavar="TASK", type=TaskName())
@click.option(
    "--data",
    "data_name",
    metavar="PATH|NAME",
    help="A file, a folder, or a name that `data list` shows; by default the task's own.",
)
@click.option("--label", metavar="COLUMN", help="The column to predict; by default the last.")
@click.option(
    "--evidence",
    type=click.Choice(["image", "note", "measurements"]),
    help="What a diagnosis is made from; by default what the data hold.",
)
@click.option(
    "--base",
    metavar="MODEL",
    help="A pretrained transformers model to fine-tune: a folder or a name of the hub.",
)
@STORE_OPTION
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML or JSON with hyperparameters.",
)
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="One hyperparameter; repeatable."
)
@click.option("--seed", type=int, help="Of everything that is drawn by chance.")
@click.option(
    "--release", metavar="NAME", help="Its name, of a-z, 0-9 and '.'; by default the time."
)
@click.option(
    "--from",
    "start",
    metavar="LINE/RELEASE",
    help="Start from the network of this release of the store, and compare with it (recsys).",
)
@click.option(
    "--prune",
    metavar="SHARE",
    help="Remove this share of the trained network, such as 0.3, and train on until what is left "
    "has recovered; short for --set prune=… (recsys, and images without a base).",
)
@training_options
@releasing_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.pass_context
def build(
    ctx: click.Context,
    task_name: str,
    data_name: str | None,
    label: str | None,
    evidence: str | None,
    base: str | None,
    store_url: str,
    config_file: Path | None,
    settings: tuple[str, ...],
    seed: int | None,
    release: str | None,
    start: str | None,
    prune: str | None,
    as_json: bool,
    training: dict[str, Any],
    releasing: dict[str, Any],
) -> None:
    """Build a release of TASK from data, and publish it to the store.

    The first release of a line answers its calls at once; later ones wait in the store.
    Exits 0 when done, 1 when it failed, 2 when it was asked wrongly, 3 when the gate refused it.
    """
    _check_evidence(task_name, evidence)
    check_release(release)
    earlier = None if start is None else line_and_release(start, "--from")
    options = checked(training)
    how = how_to_release(releasing)
    let_waiting_threads_sleep()
    # What follows imports torch: only now, when the command line is known to be right.
    console = console_of()
    with console.status("starting …"):
        from model_builder.build import build_release
        from model_builder.datasets import resolve
        from model_builder.previous import previous_release
        from model_builder.task import ManyKinds, task_for
        from model_builder.tracking.tracked import tracked
        from triton_models.store import ReleaseStore

        task = ctx.ensure_object(Tasks).load(task_name)
    if evidence is not None and isinstance(task, ManyKinds):
        task = task.of_kind(evidence)
    progress = progress_of_this_process()
    found = resolve(data_name or task.default_data, label=label, progress=progress)
    task = task_for(task, found)
    if base is not None:
        settings = (*settings, f"base={base}")
    if prune is not None:
        settings = (*settings, f"prune={prune}")
    config = configure(task, options, config_file, settings, training["strategy"], seed)
    if found.generated:
        progress.say(f"'{found.name}' is made-up data: for trying out, never for use.")
    store = ReleaseStore(store_url)
    with (
        nullcontext() if earlier is None else previous_release(store, *earlier) as previous,
        tracked(options, task_name, found, config) as outcome,
    ):
        with showing_refusals(console, as_json):
            built = build_release(task, found, config, store, progress, release, how, previous)
        outcome.release = f"{built.manifest.line}/{built.manifest.release}"
        outcome.metrics = metric_values(built.manifest)
    show(console, built, store_url)
    if options.profile:
        show_profile(options.runs / built.manifest.run, progress)
    if as_json:
        click.echo(json.dumps(summary_of(built), allow_nan=False))


cli.add_command(data)
cli.add_command(releases)
cli.add_command(drift)
cli.add_command(tune)
cli.add_command(import_model)
cli.add_command(find_lr)
cli.add_command(runs_command)
cli.add_command(optimize)
cli.add_command(verify)
cli.add_command(compile_command)
cli.add_command(promote)
cli.add_command(shadow)
cli.add_command(rollback)


def _check_evidence(task_name: str, evidence: str | None) -> None:
    if evidence is not None and task_name != "diagnosis":
        raise click.UsageError(f"--evidence is for diagnosis, not for {task_name}")


def check_release(release: str | None) -> None:
    """Refuse a name that no release can have."""
    from triton_models.release import check_release_name

    if release is None:
        return
    try:
        check_release_name(release)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--release") from error


def console_of() -> Console:
    """Return the console that speaks to people, on standard error."""
    from rich.console import Console

    return Console(stderr=True)


def show(console: Console, built: Built, store_url: str) -> None:
    """Show what was built, and what to do next."""
    from model_builder import terminal

    manifest = built.manifest
    for table in terminal.metrics_tables(manifest, built.headline):
        console.print(table)
        console.print()
    console.print(terminal.steps_table(manifest, built.step_bytes))
    console.print()
    console.print(terminal.parity_table(manifest))
    console.print()
    if manifest.checks:
        console.print(terminal.checks_table(manifest.checks))
        console.print()
    for line in _closing_lines(built, store_url):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _closing_lines(built: Built, store_url: str) -> Sequence[str]:
    manifest = built.manifest
    return [
        f"Built {manifest.line}/{manifest.release} in {built.seconds:.0f} s.",
        f"  manifest  {built.manifest_path}",
        f"  report    {built.report_path}",
        f"  run       {manifest.run}",
        f"  proven    {_proven(manifest)}",
        *_tensorrt(manifest),
        *next_steps(manifest, store_url, routed=built.routed),
    ]


def _proven(manifest: Manifest) -> str:
    """Return whose answers were compared with the network's."""
    asked = manifest.served_parity
    rows = next((one.rows for found in asked.values() for one in found.values()), 0)
    return f"{rows} rows, as served by {', '.join(asked)}" if asked else "no (--unproven)"


def _tensorrt(manifest: Manifest) -> Iterator[str]:
    """Say which cores TensorRT is said to take, and why not the others."""
    if ready := [name for name, found in manifest.tensorrt.items() if found.ready]:
        yield f"  TensorRT  takes {', '.join(ready)} (by its published operators)"
    for name, found in manifest.tensorrt.items():
        for reason in found.because:
            yield f"  TensorRT  does not take {name}: {reason}"


def summary_of(built: Built) -> dict[str, Any]:
    """Return what ``--json`` prints of a release that was built."""
    manifest = built.manifest
    return {
        "line": manifest.line,
        "release": manifest.release,
        "manifest": built.manifest_path,
        "verdict": manifest.verdict,
        "seconds": round(built.seconds, 1),
        "metrics": manifest.model_dump(mode="json")["metrics"],
        "run": manifest.run,
    }


def main() -> None:
    """Run ``model-builder``."""
    cli(prog_name="model-builder")
