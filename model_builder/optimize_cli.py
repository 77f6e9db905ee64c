"""``model-builder optimize``: tries variants of a release, and publishes the best as its child."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model_builder.releases_cli import STORE_OPTION, line_and_release
from model_builder.releasing_cli import how_to_release, releasing_options, showing_refusals

if TYPE_CHECKING:
    from model_builder.variants.report import Shown


@click.command()
@click.argument("name", metavar="LINE/RELEASE")
@STORE_OPTION
@click.option(
    "--data",
    "data_name",
    metavar="PATH|NAME",
    help="What it was built from, which pruning learns from again; by default by the name in its "
    "manifest.",
)
@click.option(
    "--variants",
    "names",
    metavar="A,B,…",
    help="What is tried, such as graph,prune-0.3+int8-static; by default the usual ones that fit "
    "this machine.",
)
@click.option(
    "--choose",
    metavar="VARIANT",
    help="Publish this one; by default the fastest that passes the gate.",
)
@click.option("--release", metavar="NAME", help="The child's name; by default the time.")
@click.option("--dry-run", is_flag=True, help="Measure, show, and publish nothing.")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default="optimize",
    envvar="TRIDENT_OPTIMIZE",
    show_default=True,
    help="Where variants lie that were made and measured: they are not again; also "
    "TRIDENT_OPTIMIZE.",
)
@releasing_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def optimize(
    name: str,
    store_url: str,
    data_name: str | None,
    names: str | None,
    choose: str | None,
    release: str | None,
    dry_run: bool,
    work: Path,
    as_json: bool,
    releasing: dict[str, Any],
) -> None:
    """Try variants of a release on this machine, and publish the best one as its child.

    A variant is made of graph, fp16-weights, int8-dynamic, int8-static and ort, joined by '+',
    after prune-0.N if it is to be pruned. Each is measured beside its parent: latency, throughput,
    size, and the metrics of the test split. The child waits in the store for `promote`. Exits 0
    when done, also if no variant is worth a release; 1 when it failed, 2 when it was asked wrongly,
    3 when the gate refused the one chosen.
    """
    from model_builder.cli import check_release, console_of
    from model_builder.variants.kinds import USUAL, parse

    line, of = line_and_release(name)
    check_release(release)
    variants = parse(names.split(",") if names else [*USUAL, *([choose] if choose else [])])
    if choose is not None and choose not in [one.name for one in variants]:
        raise click.BadParameter(f"'{choose}' is not among --variants", param_hint="--choose")
    how = how_to_release(releasing)
    console = console_of()
    with console.status("starting …"):
        from model_builder.datasets import resolve
        from model_builder.terminal import TerminalProgress
        from model_builder.variants.optimizing import Asked, optimise
        from triton_models.store import ReleaseStore

    progress = TerminalProgress(console)
    asked = Asked(
        line=line,
        release=of,
        variants=variants,
        named=names is not None,
        data=lambda known: resolve(data_name or known, progress=progress),
        work=work,
        choose=choose,
        child=release,
        dry_run=dry_run,
    )
    with showing_refusals(console, as_json):
        done = optimise(ReleaseStore(store_url), asked, how, progress, shown=_show(console))
    if done.manifest is not None:
        console.print(
            f"Published {line}/{done.manifest.release}, {done.shown.chosen}.\n"
            f"  manifest  {done.manifest_path}\n"
            f"  next      model-builder promote {line}/{done.manifest.release} "
            f"--store {store_url}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    elif done.shown.chosen is None:
        console.print("No variant is worth a release: none is faster and as good.")
    console.print(f"  page      {done.page}", highlight=False, markup=False, soft_wrap=True)
    if as_json:
        click.echo(json.dumps(done.summary(), allow_nan=False))


def _show(console: Any) -> Any:
    def show(shown: Shown) -> None:
        from model_builder.variants.report import left_out, refusals, terminal_tables

        for table in terminal_tables(shown):
            console.print(table)
            console.print()
        console.print(
            "core: Triton's compute of the ensemble's networks; served: the fused model as a "
            "client sees it; *: no other variant is faster, better and smaller.",
            style="dim",
            highlight=False,
        )
        for line in (*refusals(shown), *left_out(shown)):
            console.print(line, style="dim", highlight=False, markup=False)
        console.print()

    return show
