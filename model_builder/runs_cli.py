"""The command ``model-builder runs``: what was trained, and how runs differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model_builder.training_cli import runs_option

if TYPE_CHECKING:
    from model_builder.tracking.runs import Run


@click.command("runs")
@click.argument("names", metavar="[RUN]…", nargs=-1)
@runs_option
@click.option("--task", metavar="TASK", help="Only runs of this task.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list on standard output.")
def runs_command(names: tuple[str, ...], runs: Path, task: str | None, as_json: bool) -> None:
    """List the runs; with names, compare their settings and metrics.

    A run of which only one name is given is shown whole.
    """
    from rich.console import Console

    from model_builder.terminal import plain_table
    from model_builder.tracking.runs import RunFolder, all_runs

    if names:
        found = [RunFolder(runs, name).read() for name in names]
    else:
        found = [run for run in all_runs(runs) if task in (None, run.task)]
    if as_json:
        click.echo(json.dumps([_as_json(run) for run in found], allow_nan=False))
    elif not found:
        click.echo(f"no runs in {runs}", err=True)
    elif names:
        Console().print(plain_table(("", *names), _compared(found)))
    else:
        header = ("run", "data", "state", "seconds", "release", "metrics")
        Console().print(plain_table(header, map(_row, found)))


def _row(run: Run) -> tuple[str, ...]:
    # The last split is the one that was kept apart longest.
    metrics = next(reversed(run.metrics.values()), {})
    first = ", ".join(f"{name} {value:.4f}" for name, value in list(metrics.items())[:2])
    seconds = f"{(run.ended - run.started).total_seconds():.0f}" if run.ended else ""
    return run.id, run.data, run.shown_state, seconds, run.release, first


def _compared(found: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    from model_builder.tracking.runs import flat

    facts = ("task", "data", "shown_state", "release")
    for fact in facts:
        yield fact.removeprefix("shown_"), *(str(getattr(run, fact)) for run in found)
    configs = [flat(run.config) for run in found]
    for key in dict.fromkeys(key for config in configs for key in config):
        values = [json.dumps(config.get(key)) for config in configs]
        if len(found) == 1 or len(set(values)) > 1:
            yield key, *values
    metrics = [flat({split: dict(of) for split, of in run.metrics.items()}) for run in found]
    for name in dict.fromkeys(name for of in metrics for name in of):
        yield name, *(f"{of[name]:.4f}" if name in of else "–" for of in metrics)


def _as_json(run: Run) -> dict[str, Any]:
    return {**run.model_dump(mode="json"), "state": run.shown_state}
