"""``model-builder releases``: what is in the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from triton_models.release import Manifest

STORE_OPTION = click.option(
    "--store",
    "store_url",
    metavar="DIR",
    default="triton_models/store",
    envvar="TRIDENT_STORE",
    show_default=True,
    help="Where releases lie; also TRIDENT_STORE.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")


@click.group()
def releases() -> None:
    """Show the releases in the store."""


@releases.command("list")
@STORE_OPTION
@_JSON
def list_releases(store_url: str, as_json: bool) -> None:
    """List the releases, and the share of its line's calls that each answers."""
    from triton_models.store import ReleaseStore

    store = ReleaseStore(store_url)
    _, routes = store.routes()
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
                "built": manifest.create_time.isoformat(),
                "data": manifest.data.name,
                "generated": manifest.data.generated,
                "verdict": manifest.verdict,
            }
        )
    if as_json:
        click.echo(json.dumps({"releases": rows}))
        return
    from rich.console import Console

    from model_builder.terminal import plain_table

    if not rows:
        Console(stderr=True).print(f"There is no release in {store_url}.", highlight=False)
        return
    header = ("release", "weight", "built", "data", "verdict")
    shown = (row | {"built": str(row["built"])[:16].replace("T", " ")} for row in rows)
    Console().print(plain_table(header, ([str(row[key]) for key in header] for row in shown)))


@releases.command("show")
@click.argument("name", metavar="LINE/RELEASE")
@STORE_OPTION
@_JSON
def show_release(name: str, store_url: str, as_json: bool) -> None:
    """Show a release: its data, metrics, steps and parity; with --json its whole manifest."""
    from triton_models.store import ReleaseStore

    line, slash, release = name.partition("/")
    if not slash or not line or not release:
        raise click.BadParameter(f"must be LINE/RELEASE, got '{name}'", param_hint="LINE/RELEASE")
    manifest = ReleaseStore(store_url).manifest(line, release)
    if as_json:
        click.echo(manifest.model_dump_json())
        return
    _print(manifest)


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
