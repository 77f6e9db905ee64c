"""How long a build takes alone and beside another one, by how OpenMP's threads wait.

    .venv/bin/python benchmarks/training_in_company.py

The ways are OpenMP's default, what ``model-builder`` sets (``model_builder/threads.py``) and the
OpenMP standard's passive waiting. They take turns in each round; what is measured is the stage
``train`` of ``model-builder build recsys``, as the build itself reports it.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

OURS = "from model_builder.cli import main; main()"
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    # libgomp reads its settings when torch loads it: what is set later changes nothing.
    "OpenMP's default": (f"import torch; {OURS}", {}),
    "model-builder's": (OURS, {}),
    "passive": (OURS, {"OMP_WAIT_POLICY": "PASSIVE"}),
}
TRAINED = re.compile(r"^train: ([\d.]+) s", re.MULTILINE)


def train(way: str, data: str, epochs: int, together: int) -> list[float]:
    """Return the seconds of each of several trainings at a time."""
    program, settings = WAYS[way]
    unset = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    environment = {name: text for name, text in os.environ.items() if name not in unset} | settings
    command = [sys.executable, "-c", program, "build", "recsys"]
    command += ["--data", data, "--set", f"epochs={epochs}"]
    with tempfile.TemporaryDirectory() as folder:
        builds = [
            subprocess.Popen(
                [*command, "--store", str(Path(folder) / str(number))],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(together)
        ]
        ends = [build.communicate()[1] for build in builds]
    seconds = []
    for build, text in zip(builds, ends, strict=True):
        if build.returncode:
            raise SystemExit(text)
        seconds += [float(one) for one in TRAINED.findall(text)]
    return seconds


@click.command()
@click.option("--data", default="movielens-latest-small", show_default=True)
@click.option("--epochs", default=2, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(data: str, epochs: int, rounds: int, as_json: bool) -> None:
    """Compare the ways to wait."""
    console = Console(stderr=as_json)
    seconds: dict[str, dict[int, list[float]]] = {way: {1: [], 2: []} for way in WAYS}
    for number in range(rounds):
        for together in (1, 2):
            for way in WAYS:
                console.print(f"round {number + 1}, {together} at a time: {way}", style="dim")
                seconds[way][together] += train(way, data, epochs, together)
    medians = {
        way: {count: statistics.median(times) for count, times in of.items()}
        for way, of in seconds.items()
    }
    if as_json:
        click.echo(json.dumps(medians))
        return
    table = Table("waiting", box=box.SIMPLE_HEAD, title="Seconds of training, medians")
    for column in ("alone", "beside another", "ratio"):
        table.add_column(column, justify="right")
    for way, of in medians.items():
        table.add_row(way, f"{of[1]:.1f}", f"{of[2]:.1f}", f"{of[2] / of[1]:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
