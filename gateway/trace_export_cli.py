"""``gateway trace export``: traces for other viewers."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gateway.trace_report_cli import TRACES, analysing, read_traces


@click.command()
@click.argument("traces", nargs=-1, required=True, type=TRACES)
@click.option(
    "--perfetto", "to", flag_value="perfetto", help="Perfetto's own format, for ui.perfetto.dev."
)
@click.option("--chrome", "to", flag_value="chrome", help="JSON for chrome://tracing.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="By default standard output.",
)
@click.option(
    "--trace",
    "wanted",
    multiple=True,
    metavar="TRACE_ID",
    help="Only this trace, and the batches its calls were in; repeatable.",
)
def export(
    traces: tuple[Path, ...], to: str | None, output: Path | None, wanted: tuple[str, ...]
) -> None:
    """Write TRACES for a timeline viewer: lanes by service, arrows from calls into batches."""
    if to is None:
        raise click.UsageError("give --perfetto or --chrome")
    if output is None and to == "perfetto" and sys.stdout.isatty():
        raise click.UsageError("it is not text: give --output FILE, or send it somewhere")
    for one in wanted:
        if len(one) != 32 or not set(one.lower()) <= set("0123456789abcdef"):
            raise click.BadParameter(f"'{one}' is no trace ID: 32 hexadecimal digits",
                                     param_hint="--trace")  # fmt: skip
    with analysing():
        if to == "perfetto":
            from gateway.telemetry.analysis.perfetto_trace import write_perfetto_trace as write
        else:
            from gateway.telemetry.analysis.chrome_trace import write_chrome_trace as write
        forest = read_traces(traces).forest
        if output is None:
            count = write(forest, sys.stdout.buffer, wanted)
        else:
            with output.open("wb") as file:
                count = write(forest, file, wanted)
    if wanted and not count:
        raise click.ClickException("none of these traces is there.")
    click.echo(f"{count:,} spans" + (f" in {output}" if output else ""), err=True)
