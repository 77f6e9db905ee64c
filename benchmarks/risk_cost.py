"""What the reasons of `ScoreRisk` cost, and what a batch saves.

    .venv/bin/python benchmarks/risk_cost.py --store .demo/store

One client, one call at a time, in turns within one run: `ScoreRisk` with the default reasons,
`ScoreRisk` without any, and `BatchScoreRisk` of 1,000 rows with reasons. Rows are those of the
release's own test split. Ends with 1 if reasons cost more than 2 times the call without them, or a
batch has less than 20 times the throughput of single calls.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import grpc
import pyarrow.parquet as pq

from trident.risk.v1 import risk_service_pb2 as pb
from trident.risk.v1.risk_service_pb2_grpc import RiskServiceStub
from triton_models.store import ReleaseStore

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from batches_and_streams import risk_request
from latency import wait_serving

LINE = "score-risk"
GATEWAY = Path(sys.executable).parent / "gateway"
MOST_REASONS_COST, LEAST_BATCH_GAIN = 2.0, 20.0
BATCH = 1000


def requests_of(store: ReleaseStore) -> list[pb.ScoreRiskRequest]:
    """Return the test rows of the release that answers."""
    release = store.routes()[1].lines[LINE][0].release
    rows = pq.read_table(Path(store.report_path(LINE, release)) / "answers.parquet").to_pylist()
    return [risk_request(number, row) for number, row in enumerate(rows)]


def without_reasons(request: pb.ScoreRiskRequest) -> pb.ScoreRiskRequest:
    """Return the request with no reason wanted."""
    copy = pb.ScoreRiskRequest()
    copy.CopyFrom(request)
    copy.reason_count = 0
    return copy


def seconds(ask: Callable[[int], Any], calls: int) -> list[float]:
    """Return how long each call took."""
    taken = []
    for number in range(calls):
        started = time.perf_counter()
        ask(number)
        taken.append(time.perf_counter() - started)
    return taken


def measure(stub: RiskServiceStub, asked: list[pb.ScoreRiskRequest], rounds: int) -> dict[str, Any]:
    """Ask in turns, and return medians in milliseconds with the two ratios."""
    bare = [without_reasons(request) for request in asked]
    many = [asked[n % len(asked)] for n in range(BATCH)]
    batch = pb.BatchScoreRiskRequest(requests=many)
    contests: dict[str, Callable[[int], Any]] = {
        "reasons": lambda n: stub.ScoreRisk(asked[n % len(asked)], timeout=10),
        "no_reasons": lambda n: stub.ScoreRisk(bare[n % len(bare)], timeout=10),
        "batch": lambda n: stub.BatchScoreRisk(batch, timeout=60),
    }
    first = contests["batch"](0).responses
    assert any(response.reasons for response in first), "no row has a reason"
    taken: dict[str, list[float]] = {name: [] for name in contests}
    for _ in range(rounds + 1):
        for name, ask in contests.items():
            taken[name].append(statistics.median(seconds(ask, 3 if name == "batch" else 100)))
    ms = {name: 1000 * statistics.median(some[1:]) for name, some in taken.items()}
    return {
        **{f"{name}_ms": round(value, 3) for name, value in ms.items()},
        "reasons_cost": round(ms["reasons"] / ms["no_reasons"], 3),
        "batch_gain": round(BATCH * ms["reasons"] / ms["batch"], 1),
    }


@click.command()
@click.option("--store", "store_url", default=".demo/store", show_default=True)
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1))
def main(store_url: str, rounds: int) -> None:
    """Serve a store that holds a risk release, ask it, and print one JSON object."""
    asked = requests_of(ReleaseStore(store_url))
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [GATEWAY, "serve", "--embedded", "--store", store_url, "--listen", "127.0.0.1:0"],
            stderr=log,
        )
        try:
            with grpc.insecure_channel(wait_serving(process, log)) as channel:
                found = measure(RiskServiceStub(channel), asked, rounds)
        finally:
            process.terminate()
            process.wait(timeout=30)
    click.echo(json.dumps(found))
    good = found["reasons_cost"] <= MOST_REASONS_COST and found["batch_gain"] >= LEAST_BATCH_GAIN
    sys.exit(not good)


if __name__ == "__main__":
    main()
