"""Builds the models, serves them on a real Triton, calls every RPC and shows where the time went.

A fourth, of X-rays, is built too where the data can be had.

``make demo`` runs this. Everything it writes lies in ``.demo/``; models that are there already are
not built again (delete the folder to start anew).

Data: each public data set is looked for in ``TRIDENT_DATA_DIR``, then in the cache, then at its
original source. Where it cannot be had, a generated set takes its place, which is said loudly here
and stands in the manifest.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.panel import Panel

from triton_models.store import ReleaseStore

BIN = Path(sys.executable).parent
FOLDER = Path(os.environ.get("TRIDENT_DEMO_DIR", ".demo"))
STORE = FOLDER / "store"
TRACES = FOLDER / "traces.jsonl"
READY_TIMEOUT_S = 60
NOT_TO_BE_HAD = 1
"""How `data fetch` ends for a data set that it knows and cannot get."""
STAR_WARS_FAN = ("260", "1196", "1210", "1198", "2571", "589")
"""Star Wars IV to VI, Raiders of the Lost Ark, The Matrix, Terminator 2."""

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Model:
    """One model of the demo."""

    task: str
    line: str
    data: str
    stand_in: str
    """The generated set that is used where ``data`` cannot be had; empty: it is left out."""
    settings: tuple[str, ...] = ()


MODELS = (
    Model("recsys", "recommend", "movielens-latest-small", "generated-interactions"),
    Model("diagnosis", "diagnose-measurements", "breast-cancer", "generated-measurements"),
    Model("risk", "score-risk", "german-credit", "generated-credit"),
)
XRAYS = Model(
    "diagnosis", "diagnose-image", "pneumoniamnist", "",
    ("--set", "steps=150", "--set", "members=1"),
)  # fmt: skip
"""A few steps of a training, to see it run; ``docs/diagnosis.md`` has what a whole one reaches."""


def run(program: str, *arguments: str, shown: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one of our programs; what it says on standard error goes straight to the terminal."""
    if shown:
        console.print(f"\n[bold cyan]$ {program} {' '.join(arguments)}[/]")
    return subprocess.run(
        [BIN / program, *arguments], stdout=subprocess.PIPE, text=True, check=False
    )


def must(program: str, *arguments: str, shown: bool = True) -> str:
    """Run one of our programs and return what it printed; end the demo if it fails."""
    done = run(program, *arguments, shown=shown)
    if done.returncode:
        raise SystemExit(f"{program} {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout


@cache
def folder_of(data: str) -> Path | None:
    """Return where a named data set lies, fetched if need be; ``None`` if it cannot be had."""
    done = run("model-builder", "data", "fetch", data, "--json", shown=False)
    if done.returncode == NOT_TO_BE_HAD:
        return None
    if done.returncode:
        raise SystemExit(f"model-builder data fetch ended with {done.returncode}")
    return Path(json.loads(done.stdout)["data"][0]["folder"])


def warn(text: str) -> None:
    """Say loudly that data is made up."""
    console.print(Panel(text, title="GENERATED DATA", border_style="bold red"), soft_wrap=False)


def build(model: Model, store: ReleaseStore) -> None:
    """Build a model, unless a release of its line is there."""
    built = [release for line, release in store.releases() if line == model.line]
    if built:
        console.print(f"[dim]{model.line}: already built, in {STORE}[/]")
        if store.manifest(model.line, max(built)).data.generated:
            warn(
                f"The model of [bold]{model.line}[/] was built on MADE-UP data. Its answers mean "
                f"nothing. Delete {FOLDER} to build anew, on real data where it can be had."
            )
        return
    data = model.data
    if folder_of(data) is None and not model.stand_in:
        console.print(f"[dim]{model.line}: left out, {data} cannot be had on this machine[/]")
        return
    if folder_of(data) is None:
        data = model.stand_in
        warn(
            f"The data set [bold]{model.data}[/] cannot be had on this machine: neither in "
            "TRIDENT_DATA_DIR, nor in the cache, nor from its source.\n"
            f"[bold]The model is built on MADE-UP data instead ({data}).[/] "
            "Its answers mean nothing; its manifest says so."
        )
    options = (*model.settings, "--store", str(STORE), "--json")
    must("model-builder", "build", model.task, "--data", data, *options)


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(target: str) -> Iterator[None]:
    """Serve the store at ``target`` while the block runs."""
    # Of an ensemble each step has spans of its own; what answers faster here is the fused variant.
    options = ["--embedded", "--variant", "ensemble", "--store", str(STORE), "--listen", target]
    console.print(f"\n[bold cyan]$ gateway serve {' '.join(options)}[/]")
    environment = os.environ | {"TRIDENT_TRACES_FILE": str(TRACES)}
    started = time.monotonic()
    server = subprocess.Popen([BIN / "gateway", "serve", *options], env=environment)
    try:
        wait_serving(target, server)
        console.print(f"[green]all three domains serve after {time.monotonic() - started:.1f} s[/]")
        yield
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_serving(target: str, server: subprocess.Popen[bytes]) -> None:
    """Return when ``grpc.health.v1`` says that everything serves."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    deadline = time.monotonic() + READY_TIMEOUT_S
    with grpc.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline:
            if server.poll() is not None:
                raise SystemExit("the gateway ended before it served")
            try:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.RpcError:
                answer = None
            if answer is not None and answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.1)
    raise SystemExit(f"the gateway does not serve after {READY_TIMEOUT_S} s")


def test_rows(store: ReleaseStore, line: str) -> list[dict[str, Any]]:
    """Return the test split of a line's newest release: requests, and what torch answered."""
    release = max(release for name, release in store.releases() if name == line)
    return pq.read_table(Path(store.report_path(line, release)) / "answers.parquet").to_pylist()


def call_and_trace(target: str, *arguments: str) -> None:
    """Make one call as a person would, then show its trace."""
    print(must("gateway", "call", arguments[0], "--target", target,
               "--traces", str(TRACES), *arguments[1:]), end="")  # fmt: skip
    # Triton sends its spans in batches of its own; the trace is whole when they are in.
    time.sleep(2)
    print(must("gateway", "trace", "show", "--last", "--file", str(TRACES)), end="")


def recommend_arguments(store: ReleaseStore) -> Sequence[str]:
    """Return a taste that a person can judge if the films are known, else one of the test set."""
    newest = max(release for line, release in store.releases() if line == "recommend")
    data = store.manifest("recommend", newest).data
    folder = folder_of(data.name)
    history = STAR_WARS_FAN
    if data.generated:
        history = test_rows(store, "recommend")[0]["history_item_ids"][-6:]
    titles = ("--titles", str(folder / "movies.csv")) if folder else ()
    return ("--history", ",".join(history), *titles)


def write_json(name: str, text: str) -> str:
    """Write what a client sends as a file of the demo's folder; return its path."""
    path = FOLDER / name
    path.write_text(json.dumps(json.loads(text), indent=1))
    return str(path)


def call_everything(target: str, store: ReleaseStore) -> None:
    """Call every RPC: the unary ones as a person would, the others with the stubs."""
    from batches_and_streams import call_batches_and_streams

    console.rule("Which models are served")
    print(must("gateway", "call", "models", "--target", target, "--no-trace"), end="")
    console.rule("Recommend")
    call_and_trace(target, "recommend", *recommend_arguments(store), "--count", "5")
    console.rule("Diagnose: a patient of the test set")
    patient = write_json(
        "patient.json", test_rows(store, "diagnose-measurements")[0]["measurements"]
    )
    call_and_trace(target, "diagnose", "--measurements", patient, "--explain")
    if any(line == XRAYS.line for line, _ in store.releases()):
        console.rule("Diagnose: an X-ray of the test set (after a few steps of training)")
        image = FOLDER / "xray.png"
        image.write_bytes(test_rows(store, XRAYS.line)[0]["image"])
        where = str(FOLDER / "where.png")
        call_and_trace(target, "diagnose", "--image", str(image), "--saliency", where)
    console.rule("Score risk: an applicant of the test set")
    applicant = write_json("applicant.json", test_rows(store, "score-risk")[0]["features"])
    call_and_trace(target, "score-risk", "--features", applicant)
    console.rule("The same in batches and streams")
    call_batches_and_streams(target, {model.line: test_rows(store, model.line) for model in MODELS})


def main() -> None:
    """Run the demo."""
    started = time.monotonic()
    FOLDER.mkdir(exist_ok=True)
    store = ReleaseStore(STORE)
    console.rule("Building the models")
    for model in (*MODELS, XRAYS):
        build(model, store)
    TRACES.unlink(missing_ok=True)
    target = f"127.0.0.1:{free_port()}"
    with serving(target):
        call_everything(target, store)
    console.rule()
    console.print(
        f"Done in {time.monotonic() - started:.0f} s. Serve the same models yourself:\n"
        f"  [bold]{BIN / 'gateway'} serve --embedded --store {STORE}[/]\n"
        f"and look at any call's trace: [bold]gateway trace show --last --file {TRACES}[/]"
    )


if __name__ == "__main__":
    main()
