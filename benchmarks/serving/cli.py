"""Parses the command line of the benchmark; what is done is in the other modules."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.serving import h2load, profiling, report
from benchmarks.serving import soak as soaking
from benchmarks.serving.contenders import PEERS, contenders
from benchmarks.serving.contenders import exactly as named_exactly
from benchmarks.serving.rounds import Plan, Results, run_task
from benchmarks.serving.servers import HERE, PEERS_FOLDER, Servers
from benchmarks.serving.workloads import LEFT_OUT, TASKS, Workload
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

_ROUNDS, _SECONDS = 5, 1.5
_QUICK_ROUNDS, _QUICK_SECONDS = 2, 0.5
_RESULTS = Path(".bench/results")

console = Console(stderr=True)

store_option = click.option(
    "--store",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(".demo/store"),
    show_default=True,
    help="Releases of diagnose-measurements and recommend, with their fused variants.",
)


@click.group()
def main() -> None:
    """Measure what serving costs, side by side."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started, too


@main.command()
@store_option
@click.option("--only", multiple=True, type=click.Choice(sorted(TASKS)), help="These tasks.")
@click.option("--contenders", "names", metavar="WORDS", help="Those with one of these, by comma.")
@click.option(
    "--exactly", metavar="NAMES", help="Only those of these names, no baselines; by comma."
)
@click.option("--in-flight", default="1,16,64", show_default=True, metavar="NUMBERS")
@click.option("--rounds", type=click.IntRange(1), help=f"By default {_ROUNDS}.")
@click.option(
    "--fresh-every",
    type=click.IntRange(1),
    metavar="N",
    help="Start the servers anew after N rounds: processes differ by what they have learnt.",
)
@click.option("--seconds", type=click.FloatRange(0.2), help=f"A burst; by default {_SECONDS}.")
@click.option("--quick", is_flag=True, help="Two rounds of short bursts: about four minutes.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Written as results come; an unfinished run goes on where it was.",
)
def run(
    store: Path,
    only: tuple[str, ...],
    names: str | None,
    exactly: str | None,
    in_flight: str,
    rounds: int | None,
    fresh_every: int | None,
    seconds: float | None,
    quick: bool,
    results: Path | None,
) -> None:
    """Run everything, and show the table."""
    try:
        h2load.find()
    except h2load.LoadFailed as error:
        raise click.ClickException(str(error)) from error
    words = names.split(",") if names else []
    # The baselines always run: without them there is no ratio.
    chosen = [
        one for one in contenders()
        if not words or one.server.kind == "triton" or any(word in one.name for word in words)
    ]  # fmt: skip
    if exactly:
        try:
            chosen = named_exactly(exactly.split(","))
        except LookupError as error:
            raise click.BadParameter(str(error), param_hint="--exactly") from error
    plan = Plan(
        chosen,
        [int(number) for number in in_flight.split(",")],
        rounds or (_QUICK_ROUNDS if quick else _ROUNDS),
        seconds or (_QUICK_SECONDS if quick else _SECONDS),
        fresh_every,
    )
    path = results or _RESULTS / f"{datetime.now(UTC):%Y%m%dt%H%M%S}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = Results.read(path)
    found.add("about", _about(plan))
    for reason in LEFT_OUT.values():
        console.print(f"Left out: {reason}.")
    began = time.monotonic()
    _run(plan, ReleaseStore(store), store, only or tuple(TASKS), found)
    found.add("about", {"minutes": round((time.monotonic() - began) / 60, 1)})
    console.print(f"Results: {path}")
    report.show(Console(), found)


def _run(
    plan: Plan, store: ReleaseStore, folder: Path, tasks: tuple[str, ...], results: Results
) -> None:
    columns = (
        TextColumn("{task.fields[task_name]}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("{task.description}"),
    )  # fmt: skip
    with (
        EmbeddedTriton(Path(store.models_path)) as triton,
        Progress(*columns, console=console) as progress,
    ):
        triton.wait_ready()
        for name in tasks:
            workload = Workload(TASKS[name], store)
            total = plan.rounds * plan.bursts(name)
            bar = progress.add_task("", total=total, task_name=name)
            for step in run_task(plan, workload, folder, triton, results):
                progress.update(bar, description=step)
                if step.startswith("round"):
                    progress.advance(bar)


def _about(plan: Plan) -> dict[str, Any]:
    """Return what must be known of a run to read it."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.processor(),
    )  # fmt: skip
    return {
        "commit": commit.stdout.strip(),
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "fresh_every": plan.fresh_every,
    }


@main.command()
@store_option
@click.option("--contender", "name", default="gateway-grpc", show_default=True)
@click.option("--requests", default=1_000_000, show_default=True, type=click.IntRange(1))
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Of a run: what is found is added to it, for its table of bars.",
)
def soak(store: Path, name: str, requests: int, results: Path | None) -> None:
    """Ask a gateway a million times and watch its memory: several minutes."""
    (contender,) = (one for one in contenders() if one.name == name)
    releases = ReleaseStore(store)
    workload = Workload(TASKS["diagnose"], releases)
    with EmbeddedTriton(Path(releases.models_path)) as triton:
        triton.wait_ready()
        with Servers(store, triton) as servers:
            seen = None
            for seen in soaking.soak(contender, workload, servers, requests):
                calls, resident = seen.seen[-1]
                console.print(f"{calls:>9,} calls: {resident:.1f} MB, {seen.faults} faults")
    if seen is not None and results:
        found = Results.read(results)
        found.add("about", {"soak": found.about.get("soak", {}) | {name: seen.to_json()}})


@main.command()
@store_option
@click.option("--task", default="diagnose", show_default=True, type=click.Choice(sorted(TASKS)))
@click.option("--contender", "name", default="gateway-grpc", show_default=True)
@click.option("--in-flight", default=16, show_default=True, type=click.Choice([1, 16, 64]))
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(1))
@click.option("--output", default=Path(".bench/profile"), type=click.Path(path_type=Path))
def profile(
    store: Path, task: str, name: str, in_flight: int, seconds: float, output: Path
) -> None:
    """Sample a gateway under load: µs a call by part, and folded stacks for a flame graph."""
    (contender,) = (one for one in contenders() if one.name == name)
    releases = ReleaseStore(store)
    workload = Workload(TASKS[task], releases)
    with EmbeddedTriton(Path(releases.models_path)) as triton:
        triton.wait_ready()
        with Servers(store, triton) as servers:
            found = profiling.profile(
                contender, workload, servers, triton.pid, in_flight, seconds, output
            )
    table = Table("part", "µs a call", box=box.SIMPLE_HEAD)
    for part, time_us in sorted(found.parts.items(), key=lambda item: -item[1]):
        table.add_row(part, f"{time_us:.0f}")
    table.add_row("the gateway in all", f"{found.total_us:.0f}")
    Console().print(f"{contender.label}, {task}, {found.calls_per_s:,.0f} calls/s", table)


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(PEERS)))
def install(names: tuple[str, ...]) -> None:
    """Install peers, each in a virtual environment of its own; by default all."""
    for name in names or PEERS:
        folder = PEERS_FOLDER / name
        requirements = HERE / "peers" / name.replace("-", "_") / "requirements.txt"
        console.print(f"{name}: {folder}")
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run(
                [folder / "bin" / "pip", "install", "--quiet", "--requirement", requirements],
                check=True,
            )
        except subprocess.CalledProcessError as error:
            # The benchmark then shows it as not installed.
            console.print(f"{name}: cannot be installed here ({error})", markup=False)


@main.command(name="report")
@click.argument(
    "results",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--docs", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True)
def report_(results: Sequence[Path], docs: Path | None, as_json: bool) -> None:
    """Show a run again, or runs of one plan as one; --docs writes tables and plot into a page."""
    try:
        found = Results.pooled([Results.read(one) for one in results])
    except ValueError as error:
        raise click.UsageError(f"These runs cannot be put together: {error}.") from error
    if as_json:
        click.echo(report.to_json(found))
    elif docs:
        report.write_docs(docs, found)
    else:
        report.show(Console(), found)
