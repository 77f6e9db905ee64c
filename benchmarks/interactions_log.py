"""How fast, and in how much memory, a large log of interactions becomes splits to train on.

    .venv/bin/python benchmarks/interactions_log.py

A log is made up, the same every time: how often an item is had falls with its rank (Zipf), how
much a user has is log-normal, the rows lie in no order, some repeat another one, a few ratings
are negative or no number. It is written as CSV and as Parquet. Each is then prepared as ``build
recsys`` does it (read, faults counted, k-core, sequences, splits), and beside that only read by
pyarrow, which is what anybody pays. Every measurement is a process of its own, so that its peak
of memory is its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

USERS, ITEMS = 160_000, 60_000
_SEED = 20261125
_CHUNK = 1_000_000
_FIRST_S, _SPAN_S = 1_100_000_000, 500_000_000
_DUPLICATES, _ODD_RATINGS = 0.005, 0.0001


def write_log(folder: Path, rows: int, users: int = USERS, items: int = ITEMS) -> None:
    """Write ``log.csv`` and ``log.parquet``, in pieces."""
    draws = np.random.default_rng(_SEED)
    activity = np.cumsum(draws.lognormal(0.0, 1.0, users))
    fame = np.cumsum(1.0 / np.arange(1, items + 1) ** 0.9)
    begun = _FIRST_S + draws.integers(0, _SPAN_S // 2, users)
    writer: pq.ParquetWriter | None = None
    with (folder / "log.csv").open("wb") as csv:
        for start in range(0, rows, _CHUNK):
            n = min(_CHUNK, rows - start)
            who = np.searchsorted(activity, draws.random(n) * activity[-1])
            what = np.searchsorted(fame, draws.random(n) * fame[-1])
            when = begun[who] + draws.integers(0, _SPAN_S // 2, n)
            chunk = _with_faults(who + 1, what + 1, when, draws)
            chunk.write_csv(csv, include_header=start == 0)
            table = chunk.to_arrow()
            writer = writer or pq.ParquetWriter(folder / "log.parquet", table.schema)
            writer.write_table(table)
    if writer is not None:
        writer.close()


def _with_faults(
    who: npt.NDArray[np.int64],
    what: npt.NDArray[np.int64],
    when: npt.NDArray[np.int64],
    draws: np.random.Generator,
) -> pl.DataFrame:
    n = len(who)
    rating = draws.integers(1, 11, n) / 2
    odd = draws.random(n) < _ODD_RATINGS
    rating[odd] = draws.choice([-1.0, np.nan, np.inf], int(odd.sum()))
    again = np.flatnonzero(draws.random(n) < _DUPLICATES)
    of = draws.integers(0, n, len(again))
    for column in (who, what, when, rating):
        column[again] = column[of]
    return pl.DataFrame({"userId": who, "movieId": what, "rating": rating, "timestamp": when})


def prepare(path: Path) -> dict[str, Any]:
    """Do what a build does before it trains, and say how much there is."""
    from model_builder.recsys.config import RecsysConfig
    from model_builder.recsys.data import load_interactions, split_interactions

    config = RecsysConfig(min_user_items=5, min_item_users=5)
    interactions = load_interactions(path, config)
    read = time.perf_counter()
    splits = split_interactions(interactions, config, path.name)
    return {
        "split_s": time.perf_counter() - read,
        "interactions": len(interactions),
        "items": len(interactions.item_ids),
        "users": len(interactions.sequences),
        "split": splits.counts,
        "findings": list(interactions.counts.said().values()),
    }


def only_read(path: Path) -> dict[str, Any]:
    """Read the file into pyarrow's table and do nothing with it."""
    table = pq.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)
    return {"interactions": table.num_rows}


WAYS = {"prepared": prepare, "pyarrow only reads": only_read}


def measured(way: str, path: Path) -> dict[str, Any]:
    """Run one way in a process of its own."""
    command = [sys.executable, __file__, "one", way, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


@click.group(invoke_without_command=True)
@click.option("--rows", default=25_000_000, show_default=True, type=click.IntRange(1000))
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Keep the log here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@click.pass_context
def main(context: click.Context, rows: int, folder: Path | None, as_json: bool) -> None:
    """Make the log, prepare it, and print how long it took."""
    if context.invoked_subcommand:
        return
    with tempfile.TemporaryDirectory() as scratch:
        place = folder or Path(scratch)
        if not (place / "log.parquet").exists():
            write_log(place, rows)
        results = [
            {"way": way, "file": path.name, "bytes": path.stat().st_size, **measured(way, path)}
            for path in (place / "log.csv", place / "log.parquet")
            for way in WAYS
        ]
    if as_json:
        click.echo(json.dumps(results))
        return
    table = Table("file", "way", "seconds", "rows/s", "peak memory", box=box.MARKDOWN)
    for result in results:
        table.add_row(
            f"{result['file']} ({result['bytes'] / 1e6:,.0f} MB)",
            result["way"],
            f"{result['seconds']:.1f}",
            f"{rows / result['seconds'] / 1e6:.2f} M",
            f"{result['peak_bytes'] / 1e9:.2f} GB",
        )
    console = Console()
    console.print(table)
    prepared = results[0]
    console.print(f"{prepared['users']:,} users, {prepared['items']:,} items: {prepared['split']}")
    console.print(*prepared["findings"], sep="\n")


@main.command(hidden=True)
@click.argument("way")
@click.argument("path", type=click.Path(path_type=Path))
def one(way: str, path: Path) -> None:
    """Measure one way in this process."""
    started = time.perf_counter()
    found = WAYS[way](path)
    found["seconds"] = time.perf_counter() - started
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
