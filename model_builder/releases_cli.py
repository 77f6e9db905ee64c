"""``model-builder releases``: what is in the store, what routed it, what is in nobody's way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model_builder.next_steps import DEFAULT_STORE, next_steps
from model_builder.releasing_cli import sign_option, signer

if TYPE_CHECKING:
    from triton_models.release import Manifest

STORE_OPTION = click.option(
    "--store",
    "store_url",
    metavar="DIR",
    default=DEFAULT_STORE,
    envvar="TRIDENT_STORE",
    show_default=True,
    help="Where releases lie; also TRIDENT_STORE.",
)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")


@click.group()
def releases() -> None:
    """Show, compare and prune the releases in the store."""


def line_and_release(name: str) -> tuple[str, str]:
    """Return line and release of ``LINE/RELEASE``."""
    line, slash, release = name.partition("/")
    if not slash or not line or not release:
        raise click.BadParameter(f"must be LINE/RELEASE, got '{name}'", param_hint="LINE/RELEASE")
    return line, release


@releases.command("list")
@STORE_OPTION
@JSON_OPTION
def list_releases(store_url: str, as_json: bool) -> None:
    """List the releases, and the share of its line's calls that each answers."""
    from triton_models.store import ReleaseStore

    store = ReleaseStore(store_url)
    number, routes = store.routes()
    weights = {
        (line, target.release): target.weight
        for line, targets in routes.lines.items()
        for target in targets
    }
    rows = []
    for line, release in store.releases():
        manifest = store.manifest(line, release)
        rows.append(
            {
                "release": f"{line}/{release}",
                "weight": weights.get((line, release), 0.0),
                "shadow": routes.shadows.get(line) == release,
                "signed": manifest.signature is not None,
                "built": manifest.create_time.isoformat(),
                "data": manifest.data.name,
                "generated": manifest.data.generated,
                "verdict": manifest.verdict,
            }
        )
    if as_json:
        click.echo(json.dumps({"routes": number, "releases": rows}))
        return
    from rich.console import Console

    from model_builder.terminal import plain_table

    if not rows:
        Console(stderr=True).print(f"There is no release in {store_url}.", highlight=False)
        return
    header = ("release", "weight", "built", "data", "verdict", "signed")
    shown = (
        row
        | {
            "built": str(row["built"])[:16].replace("T", " "),
            "weight": "shadow" if row["shadow"] else f"{row['weight']:.4g}",
            "signed": "yes" if row["signed"] else "no",
        }
        for row in rows
    )
    Console().print(plain_table(header, ([str(row[key]) for key in header] for row in shown)))
    Console(stderr=True).print(f"Route file {number} is in force.", highlight=False)


@releases.command("show")
@click.argument("name", metavar="LINE/RELEASE")
@STORE_OPTION
@JSON_OPTION
def show_release(name: str, store_url: str, as_json: bool) -> None:
    """Show a release: its data, metrics, steps and parity; with --json its whole manifest."""
    from triton_models.store import ReleaseStore

    manifest = ReleaseStore(store_url).manifest(*line_and_release(name))
    if as_json:
        click.echo(manifest.model_dump_json())
        return
    _print(manifest)


@releases.command("history")
@STORE_OPTION
@JSON_OPTION
def show_history(store_url: str, as_json: bool) -> None:
    """Show every route file, oldest first: what was asked for, when, and what it routed."""
    from triton_models.store import ReleaseStore

    store = ReleaseStore(store_url)
    last, _ = store.routes()
    files = [(number, store.routes_of(number)) for number in range(1, last + 1)]
    if as_json:
        rows = [{"number": number} | routes.model_dump(mode="json") for number, routes in files]
        click.echo(json.dumps({"routes": rows}))
        return
    for number, routes in files:
        when = f"{routes.create_time:%Y-%m-%d %H:%M:%S} UTC" if routes.create_time else "–"
        click.echo(f"{number:>6}  {when}  {routes.note}")


@releases.command("diff")
@click.argument("one", metavar="LINE/RELEASE")
@click.argument("other", metavar="LINE/RELEASE")
@click.option("--all", "everything", is_flag=True, help="Also what is alike.")
@STORE_OPTION
@JSON_OPTION
def diff_releases(one: str, other: str, everything: bool, store_url: str, as_json: bool) -> None:
    """Compare two releases: metrics, data, code, schema, size, latency, answers."""
    from dataclasses import asdict

    from model_builder.release_diff import compare_files, compare_releases
    from triton_models.store import ReleaseStore

    store = ReleaseStore(store_url)
    first, second = (store.manifest(*line_and_release(name)) for name in (one, other))
    if first.line != second.line:
        raise click.UsageError(f"{one} and {other} are of different lines")
    rows = compare_releases(first, second, everything=everything)
    rows += compare_files(store, first, second, everything=everything)
    if as_json:
        click.echo(json.dumps({"rows": [asdict(row) for row in rows]}))
        return
    from rich.console import Console

    from model_builder.terminal import plain_table

    header = ("", "", first.release, second.release, "")
    cells = ([row.part, row.name, row.one, row.other, row.remark] for row in rows)
    Console().print(plain_table(header, cells) if rows else "They are alike.")


@releases.command("prune")
@click.argument("lines", metavar="[LINE]…", nargs=-1)
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Of each line, how many of the newest stay in any case.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@STORE_OPTION
@JSON_OPTION
def prune_releases(
    lines: tuple[str, ...], keep: int, dry_run: bool, store_url: str, as_json: bool
) -> None:
    """Remove releases that are not routed, not in the shadow, and not what a rollback needs."""
    from model_builder.routing import prunable, prune
    from triton_models.store import ReleaseStore

    store = ReleaseStore(store_url)
    found = prunable(store, keep, lines) if dry_run else prune(store, keep, lines)
    names = [f"{line}/{release}" for line, release in found]
    if as_json:
        click.echo(json.dumps({"pruned": names, "dry_run": dry_run}))
        return
    verb = "would be removed" if dry_run else "removed"
    for name in names:
        click.echo(f"{name} {verb}", err=True)
    if not names:
        click.echo("There is nothing to prune.", err=True)


@releases.command("upload")
@click.argument("place", type=click.Path(exists=True, file_okay=False, path_type=Path))
@sign_option
@STORE_OPTION
def upload_release(place: Path, sign_key: Path | None, store_url: str) -> None:
    """Go on with the upload of a release that a build has kept in PLACE.

    As after a build, it answers its line's calls at once if no other release does.
    """
    from model_builder.outgoing import upload
    from model_builder.routing import route_first
    from triton_models.store import ReleaseStore

    store = ReleaseStore(store_url)
    manifest, path = upload(place, store, signer(sign_key))
    routed = route_first(store, manifest)
    click.echo(f"Published {path}", err=True)
    for line in next_steps(manifest, store_url, routed=routed):
        click.echo(line, err=True)


def _print(manifest: Manifest) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    from model_builder.report import model_card

    console = Console()
    text = model_card(manifest)
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        click.echo(text)  # not wrapped: it is Markdown for another program
