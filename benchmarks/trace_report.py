"""How long a report of a million spans takes, and how much memory.

    .venv/bin/python benchmarks/trace_report.py

Writes a file of traces as the gateway writes them (three domains, 13 to 15 spans a call, a third of
the calls in batches), then runs ``gateway trace report`` on it as a program of its own, with the
table and with the page, and reads its time and its largest memory from the system. The
processes that it starts count too.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from synthetic_traces import Json, Planted, Step, batch, call, write

SECONDS_BAR, BYTES_BAR = 20.0, 2_000_000_000
DOMAINS = (
    Planted(),
    Planted(method="trident.diagnose.v1.DiagnoseService/Diagnose", line="diagnose-measurements",
            steps=(Step("prepare"), Step("classify", infer=0.6), Step("calibrate"))),
    Planted(method="trident.recommend.v1.RecommendService/Recommend", line="recommend",
            steps=(Step("encode", infer=0.1), Step("rank", infer=2.0), Step("decode", infer=0.2))),
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One run."""

    what: str
    spans: int
    file_bytes: int
    seconds: float
    processor_seconds: float
    """Of all its processes together: what it would take on one core, whatever else runs."""
    peak_bytes: int
    """The largest memory of all its processes together, sampled every 50 ms."""


def traffic(spans: int, seed: int) -> Iterator[Sequence[Json]]:
    """Give about so many spans, a few calls a line."""
    chance = random.Random(seed)
    made, at = 0, 0.0
    line: list[Json] = []
    while made < spans:
        at += chance.expovariate(2.0)  # ms between calls
        planted = replace(
            chance.choice(DOMAINS),
            queue=chance.expovariate(5.0),
            decode=chance.uniform(0.1, 0.5),
            client=chance.uniform(0.1, 0.4),
            release=chance.choice(("a1", "a1", "a1", "b2")),
        )
        planted = planted.with_step(planted.steps[1].name, queue=chance.expovariate(4.0))
        some = (
            batch(planted, chance.randint(2, 4), window=1.0, at=at)
            if chance.random() < 0.15
            else call(planted, at)
        )
        made += len(some)
        line += some
        if len(line) > 200:
            yield line
            line = []
    yield line


def measure(what: str, file: Path, spans: int, *options: str) -> Measured:
    """Run a report on both cores and watch it."""
    gateway = Path(sys.executable).parent / "gateway"
    command = [str(gateway), "trace", "report", str(file), *options]
    before, started = _processor_seconds(), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_memory, _family(process.pid))))
        time.sleep(0.05)
    seconds = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    used = _processor_seconds() - before
    size = file.stat().st_size
    return Measured(what, spans, size, round(seconds, 2), round(used, 2), peak)


def _processor_seconds() -> float:
    """Return what all programs that were run, and have ended, have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _memory(pid: int) -> int:
    """Return the resident memory of a process, its shared pages too."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


@click.command()
@click.option("--spans", default=1_000_000, show_default=True, type=click.IntRange(100))
@click.option("--seed", default=0, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the file of traces here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(spans: int, seed: int, keep: Path | None, as_json: bool) -> None:
    """Measure a report of many spans."""
    with tempfile.TemporaryDirectory() as folder:
        file = keep or Path(folder) / "traces.jsonl"
        if not file.exists():
            click.echo(f"writing about {spans:,} spans …", err=True)
            write(file, traffic(spans, seed))
        results = [
            measure("table", file, spans),
            measure("page", file, spans, "--html", str(Path(folder) / "report.html")),
        ]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in results]))
    cores = len(os.sched_getaffinity(0))
    for one in results:
        click.echo(
            f"{one.what}: {one.seconds:.1f} s ({one.processor_seconds:.1f} s of processor time) "
            f"and {one.peak_bytes / 1e9:.2f} GB for "
            f"{one.spans:,} spans ({one.file_bytes / 1e6:.0f} MB) on {cores} cores; "
            f"the bars are {SECONDS_BAR:.0f} s and {BYTES_BAR / 1e9:.0f} GB",
            err=as_json,
        )
    missed = [one for one in results if one.seconds > SECONDS_BAR or one.peak_bytes > BYTES_BAR]
    if missed and spans <= 1_000_000:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
