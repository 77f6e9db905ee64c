"""``gateway trace export``: traces for other viewers."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gateway.trace_report_cli import TRACES, analysing, read_traces, writing

_DIGITS = set("0123456789abcdef")


@click.command()
@click.argument("traces", nargs=-1, required=True, type=TRACES)
@click.option("--perfetto", is_flag=True, help="Perfetto's own format, for ui.perfetto.dev.")
@click.option("--chrome", is_flag=True, help="JSON for chrome://tracing.")
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
    help="Only this trace, and the batches its calls were in; its first digits do; repeatable.",
)
def export(
    traces: tuple[Path, ...],
    perfetto: bool,
    chrome: bool,
    output: Path | None,
    wanted: tuple[str, ...],
) -> None:
    """Write TRACES for a timeline viewer: lanes by service, arrows from calls into batches."""
    if perfetto == chrome:
        raise click.UsageError("give --perfetto or --chrome" + (", not both" if chrome else ""))
    if output is None and perfetto and sys.stdout.isatty():
        raise click.UsageError("it is not text: give --output FILE, or send it somewhere")
    if bad := [one for one in wanted if not _is_start_of_id(one)]:
        said = (
            f"{', '.join(map(repr, bad))}: a trace ID has 32 hexadecimal digits; give some or all"
        )
        raise click.BadParameter(said, param_hint="--trace")
    with analysing():
        from gateway.telemetry.analysis.tracks import NoSuchTrace, complete_ids

        if perfetto:
            from gateway.telemetry.analysis.perfetto_trace import write_perfetto_trace as write
        else:
            from gateway.telemetry.analysis.chrome_trace import write_chrome_trace as write
        forest = read_traces(traces).forest
        try:
            whole = complete_ids(forest, wanted)
        except NoSuchTrace as error:
            raise click.ClickException(f"{error}.") from error
        if output is None:
            count = write(forest, sys.stdout.buffer, whole)
        else:
            with writing(output), output.open("wb") as file:
                count = write(forest, file, whole)
    if wanted and not count:
        raise click.ClickException("none of these traces is there.")
    click.echo(f"{count:,} spans" + (f" in {output}" if output else ""), err=True)


def _is_start_of_id(text: str) -> bool:
    return 0 < len(text) <= 32 and set(text.lower()) <= _DIGITS
