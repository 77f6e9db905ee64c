"""``gateway bench``: load on a running gateway, with the answer attached."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.client.identity import Identity, identified
from gateway.trace_cli import DEFAULT_FILE
from gateway.trace_report_cli import analysing, console

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console

    from gateway.client.load.driver import Driver
    from gateway.client.load.requests import Rpc
    from gateway.telemetry.analysis.report import Report

_EXAMPLES = 64
_SPANS_S = 15.0
"""How long to wait for the last spans of the gateway and of Triton."""
_LATE_MS = 1.0
_POSITIVE = click.FloatRange(min=0, min_open=True)
_RPCS = ("recommend", "diagnose", "score-risk")
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("rpc_name", metavar="RPC", type=click.Choice(_RPCS))
@click.option("--rate", type=_POSITIVE, metavar="N", help="Calls a second (an open loop).")
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    metavar="N",
    help="Calls at a time, each after the one before it (a closed loop).",
)
@click.option(
    "--rows",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Requests in a call; more than one go to the RPC that takes many (Batch…).",
)
@click.option("--duration", type=_POSITIVE, default=10.0, show_default=True, metavar="SECONDS")
@click.option(
    "--warmup",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Sent before, and not measured.",
)
@click.option(
    "--arrivals",
    type=click.Choice(["random", "even"]),
    default="random",
    show_default=True,
    help="How the requests of --rate follow each other.",
)
@click.option(
    "--requests",
    "requests_file",
    type=_EXISTING,
    metavar="FILE",
    help="Requests as JSON lines, or the answers.parquet of a release; "
    "by default they are made from the schema of the release that serves.",
)
@click.option(
    "--target",
    default="127.0.0.1:50051",
    envvar="TRIDENT_TARGET",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the gateway listens.",
)
@click.option(
    "--deadline",
    "deadline_s",
    type=_POSITIVE,
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Of each call.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Each has as many calls at a time as the gateway lets it (max_concurrent_streams); more "
    "wait here, which counts too.",
)
@click.option(
    "--traces",
    type=_FILE,
    default=DEFAULT_FILE,
    envvar="TRIDENT_TRACES_FILE",
    show_default=True,
    help="The file that the gateway writes spans to.",
)
@click.option(
    "--sample",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of the calls that are traced; 0: no report.",
)
@click.option(
    "--trace-ids",
    "ids_file",
    type=_FILE,
    metavar="FILE",
    help="Write the IDs of the traced calls, a line each: to fetch their traces from elsewhere.",
)
@click.option("--html", type=_FILE, metavar="FILE", help="Write the report as a page too.")
@click.option(
    "--settle",
    "settle_s",
    type=_POSITIVE,
    default=1.5,
    show_default=True,
    metavar="SECONDS",
    help="The traces are all there when nothing was written for so long.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@identified
def bench(
    rpc_name: str,
    rate: float | None,
    concurrency: int | None,
    rows: int,
    requests_file: Path | None,
    target: str,
    traces: Path,
    ids_file: Path | None,
    html: Path | None,
    as_json: bool,
    seed: int,
    identity: Identity,
    **how: Any,
) -> None:
    """Put a running gateway under load and say where the time went.

    With --rate, requests are sent when they are due, whether or not the gateway keeps up, and
    their latency counts from then. With --concurrency, each of N callers waits for its answer
    before it asks again, which hides how long a caller would have waited when the gateway stood
    still. Ends with the report of the traces that the load caused.

    Example: gateway bench score-risk --rate 200 --duration 10
    """  # fmt: skip
    if (rate is None) == (concurrency is None):
        raise click.UsageError("give --rate or --concurrency")
    with analysing():
        from gateway.client.load.driver import Driver, Load, Unreachable
        from gateway.client.load.requests import RPCS

        rpc = RPCS[rpc_name]
        requests = _requests(rpc, requests_file, target, how["deadline_s"], seed, identity)
        many = rows > 1
        messages = rpc.batches(requests, rows) if many else requests
        load = Load(
            method=rpc.batch_method if many else rpc.method,
            requests=[message.SerializeToString() for message in messages],
            rows=rows,
            rate=rate,
            concurrency=concurrency or 1,
            duration_s=how["duration"],
            warmup_s=how["warmup"],
            deadline_s=how["deadline_s"],
            sample_ratio=how["sample"],
            even=how["arrivals"] == "even",
            connections=how["connections"],
            seed=seed,
        )
        driver = Driver(target, load, identity)
        try:
            driver.run()
        except Unreachable as error:
            raise click.ClickException(f"{error}.") from error
        if ids_file is not None:
            ids_file.write_text("".join(f"{call.trace_id:032x}\n" for call in driver.traced))
        report = _report(driver, traces, how["settle_s"])
        if report is not None and html is not None:
            from gateway.telemetry.analysis.page import render_page

            html.write_text(render_page(report), encoding="utf-8")
    if as_json:
        from gateway.telemetry.analysis.report import as_json as content_of

        content = driver.outcome.as_json() | {"rows": rows, "report": content_of(report)}
        click.echo(json.dumps(content, indent=2))
        return
    _print(driver, report, console())


def _requests(
    rpc: Rpc, path: Path | None, target: str, deadline_s: float, seed: int, identity: Identity
) -> list[Message]:
    """Return what to send, in an order of its own: neighbours in a file are alike."""
    from gateway.client.caller import Caller
    from gateway.client.load.requests import BadRequests, example_requests, read_requests
    from trident.model.v1 import model_service_pb2 as pb

    if path is not None:
        try:
            messages = read_requests(rpc, path)
        except BadRequests as error:
            raise click.ClickException(str(error)) from error
    elif rpc.of_values is None:
        raise click.UsageError(
            f"the schema of {rpc.name} does not say which items there are: give --requests FILE, "
            "such as reports/recommend/RELEASE/answers.parquet of the store"
        )
    else:
        with Caller(target, deadline_s, None, identity) as caller:
            asked = pb.GetModelRequest(domain=rpc.domain, line=rpc.line)
            method = "trident.model.v1.ModelService/GetModel"
            model = caller.quietly(method, asked, pb.GetModelResponse).model
        messages = example_requests(rpc, model.features, _EXAMPLES, seed)
    random.Random(seed).shuffle(messages)
    return messages


def _report(driver: Driver, traces: Path, settle_s: float) -> Report | None:
    """Return the report of the calls that were traced; ``None`` if there is none."""
    from gateway.client.load.traces import report_of, wait_until_quiet, write_client_spans
    from gateway.telemetry.exporter import SendFailed

    if not driver.traced:
        return None
    try:
        write_client_spans(traces, driver.load.method, driver.target, driver.traced)
    except SendFailed as error:  # what was measured is worth more than what caused it
        click.echo(f"No report: {error}.", err=True)
        return None
    wait_until_quiet(traces, settle_s, _SPANS_S)
    report = report_of(traces, driver.traced)
    if report.calls < len(driver.traced):
        lost = len(driver.traced) - report.calls
        click.echo(
            f"{lost} of {len(driver.traced)} traced calls are not in {traces}: is it the file that "
            "the gateway writes to (--traces)? A full one is put away, and only the last is kept.",
            err=True,
        )
    return report


def _print(driver: Driver, report: Report | None, out: Console) -> None:
    from rich import box
    from rich.table import Table

    from gateway.client.load.outcome import PERCENTILES, milliseconds
    from gateway.telemetry.analysis.terminal import print_report

    outcome, rows = driver.outcome, driver.load.rows
    many = f", {rows * outcome.rate:,.0f} requests/s in calls of {rows}" if rows > 1 else ""
    out.print(
        f"{outcome.answered:,} of {outcome.sent:,} answered in {outcome.seconds:.1f} s: "
        f"{outcome.rate:.1f}/s{many}"
    )
    for name, count in outcome.errors.most_common():
        out.print(f"{count:,}× {name}")
    if outcome.unsent:
        out.print(f"{outcome.unsent:,} were due and not sent: too many had no answer yet")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("ms")
    for percent in PERCENTILES:
        table.add_column(f"p{percent:g}", justify="right")
    measured = {"from when it was due": outcome.latency, "from when it was sent": outcome.service}
    if driver.load.rate is None:  # in a closed loop a call is due when it can be sent
        del measured["from when it was due"]
    for name, histogram in measured.items():
        values = milliseconds(histogram)
        if values:
            table.add_row(name, *(f"{values[f'p{percent:g}']:.2f}" for percent in PERCENTILES))
    out.print(table)
    lag = milliseconds(outcome.lag)
    if lag and lag["p99"] > _LATE_MS:
        out.print(
            f"The client itself was {lag['p99']:.2f} ms late (p99): part of this is its own time."
        )
    if report is not None:
        out.print()
        print_report(report, out)
