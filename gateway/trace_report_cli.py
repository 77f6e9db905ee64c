"""``gateway trace report`` and ``gateway trace diff``: where the time of many calls went."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gateway.telemetry.analysis.comparison import Comparison
    from gateway.telemetry.analysis.report import Traces

TRACES = click.Path(exists=True, path_type=Path)
_OUTPUT = click.Path(dir_okay=False, writable=True, path_type=Path)


@contextmanager
def analysing() -> Iterator[None]:
    """Say in one line what is missing, be it a file or a library."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "gateway":
            raise
        raise click.ClickException(
            f"this needs the package '{error.name}': pip install 'trident[analysis]'"
        ) from error


def read_traces(paths: tuple[Path, ...]) -> Traces:
    """Read traces.

    Raises:
        click.ClickException: If there is nothing to read, or no span in it.
    """
    from gateway.telemetry.analysis.loading import NoTraces
    from gateway.telemetry.analysis.report import read

    try:
        traces = read(paths)
    except NoTraces as error:
        raise click.ClickException(f"{error}.") from error
    if not len(traces.forest.spans):
        raise click.ClickException(_said_of_nothing(traces))
    return traces


def _said_of_nothing(traces: Traces) -> str:
    """Return what was expected of files without a span, and what could not be read of them."""
    from gateway.telemetry.analysis.writing import some_of

    text = f"there is no span in {some_of(traces.files)}: expected lines of OTLP/JSON, as the " \
           "gateway writes them, or an answer of Jaeger (/api/traces) or Tempo."  # fmt: skip
    damage = traces.damage
    if damage.named:
        count = f"{damage.lines} lines, {damage.spans} spans of others"
        text += "\n  ".join([f"\nCould not be read: {count}", *damage.named[:5]])
    return text


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folder of a file, and say in one line why it cannot be written."""
    try:
        if not path.parent.exists():  # else a file in its place would be said to exist already
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise click.ClickException(f"{path} cannot be written: {reason}") from error


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


@click.command()
@click.argument("traces", nargs=-1, required=True, type=TRACES)
@click.option("--against", type=TRACES, multiple=True, metavar="TRACES",
              help="Compare with these, as what was before; repeatable.")  # fmt: skip
@click.option("--html", type=_OUTPUT, metavar="FILE", help="Write one page that needs no network.")
@output_options
def report(
    traces: tuple[Path, ...], against: tuple[Path, ...], html: Path | None, as_json: bool
) -> None:
    """Say where the time of all calls in TRACES went, and what to change.

    For each RPC and release: the share and p50/p95/p99 of every stage, waiting against work,
    what the slowest calls have more of, and findings in words. docs/traces.md explains it.
    """
    with analysing():
        from gateway.telemetry.analysis.report import as_json as content_of
        from gateway.telemetry.analysis.report import build_report
        from gateway.telemetry.analysis.terminal import print_report

        made = build_report(read_traces(traces), read_traces(against) if against else None)
        if html is not None:
            from gateway.telemetry.analysis.page import render_page

            page = render_page(made)
            with writing(html):
                html.write_text(page, encoding="utf-8")
            click.echo(f"The page is {html}", err=True)
    if as_json:
        click.echo(json.dumps(content_of(made), indent=2))
        return
    print_report(made, console())


@click.command()
@click.argument("before", type=TRACES)
@click.argument("after", type=TRACES, required=False)
@click.option("--releases", nargs=2, metavar="STABLE CANARY",
              help="Compare two releases in the same traces.")  # fmt: skip
@output_options
def diff(before: Path, after: Path | None, releases: tuple[str, str] | None, as_json: bool) -> None:
    """Compare calls BEFORE with calls AFTER, stage by stage.

    With --releases, compare two releases in the same traces. The intervals are from a block
    bootstrap; what is dim could be chance.
    """
    if (after is None) == (releases is None):
        raise click.UsageError("give AFTER, or --releases STABLE CANARY")
    with analysing():
        found = _compare(before, after, releases)
        from gateway.telemetry.analysis.report import as_json as content_of
        from gateway.telemetry.analysis.terminal import print_comparisons
    if not found:
        raise click.ClickException("the two have no RPC in common.")
    if as_json:
        click.echo(json.dumps(content_of(found), indent=2))
        return
    print_comparisons(found, console())


def _compare(
    before: Path, after: Path | None, releases: tuple[str, str] | None
) -> list[Comparison]:
    from gateway.telemetry.analysis.report import compare_releases, compare_sets

    first = read_traces((before,))
    if releases is not None:
        _expect_releases(first, releases)
        return compare_releases(first, *releases)
    return compare_sets(first, read_traces((after,))) if after is not None else []


def _expect_releases(traces: Traces, wanted: tuple[str, str]) -> None:
    """Refuse releases that answered no call.

    Raises:
        click.ClickException: With those that did.
    """
    from gateway.telemetry.analysis.report import releases_of
    from gateway.telemetry.analysis.writing import nearest

    lines = releases_of(traces)
    known = {release for some in lines.values() for release in some}
    unknown = [one for one in wanted if one not in known]
    if unknown:
        said = "".join(f"'{one}' answered no call; {nearest(one, known)}" for one in unknown)
        there = "; ".join(f"{line}: {', '.join(some)}" for line, some in lines.items())
        raise click.ClickException(f"{said}releases are: {there or 'none'}.")


def console() -> Any:
    """Return a console on standard output that prints what it is given."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
