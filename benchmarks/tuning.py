"""Whether tuning finds a better validation metric than the defaults.

    .venv/bin/python benchmarks/tuning.py --trials 20

One run of ``model-builder tune risk`` in a folder of its own. Small tables are cross-validated, so
the metric is the AUC of the held-out answers of the training rows; the test rows are never looked
at. The best of many trials is a little flattered by having been chosen (docs/data-and-tuning.md).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

PROGRAM = Path(sys.executable).parent / "model-builder"


@click.command()
@click.option("--task", default="risk", show_default=True)
@click.option("--data", default="german-credit", show_default=True)
@click.option("--trials", default=20, show_default=True, type=click.IntRange(1))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1))
@click.option("--pruner", default="asha", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(task: str, data: str, trials: int, workers: int, pruner: str, as_json: bool) -> None:
    """Tune once; end with 1 if nothing better than the defaults was found."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [PROGRAM, "tune", task, "--data", data, "--trials", str(trials), "--json"]
        command += ["--workers", str(workers), "--pruner", pruner, "--out", folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    result = {
        "data": data,
        "metric": found["metric"],
        "trials": len(found["trials"]),
        "stopped_early": sum(trial["state"] == "pruned" for trial in found["trials"]),
        "defaults": found["defaults"],
        "best": found["best"],
        "better": found["best"] > found["defaults"],
        "params": found["params"],
        "seconds": round(time.monotonic() - started, 1),
    }
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo(
            f"{result['metric']} on {data}: defaults {result['defaults']:.4f}, best of "
            f"{result['trials']} trials {result['best']:.4f} in {result['seconds']} s"
        )
    sys.exit(not result["better"])


if __name__ == "__main__":
    main()
