"""``model-builder data``: the data sets that have a name, and a look at any."""

from __future__ import annotations

import json

import click

from model_builder.data_check_cli import check_data, data_schema
from model_builder.data_prepare_cli import prepare_data


@click.group()
def data() -> None:
    """Show, fetch and check data sets."""


@data.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def list_data(as_json: bool) -> None:
    """List the data sets, and whether each is on this machine."""
    from model_builder.datasets import NAMED, Places

    places = Places.from_environment()
    rows = [
        {
            "name": known.name,
            "where": "made on the spot" if known.generated else places.find(known)[0],
            "summary": known.summary,
            "licence": known.licence,
            "source": known.url,
            "generated": known.generated,
        }
        for known in NAMED.values()
    ]
    if as_json:
        click.echo(json.dumps({"data": rows}))
        return
    from rich.console import Console

    from model_builder.terminal import plain_table

    header = ("name", "where", "summary", "licence")
    Console().print(plain_table(header, ([str(row[key]) for key in header] for row in rows)))


@data.command("fetch")
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def fetch_data(names: tuple[str, ...], as_json: bool) -> None:
    """Put data sets into the cache, unless they are on this machine, and check them."""
    from rich.console import Console

    from model_builder.datasets import NAMED, Places, ensure, unknown
    from model_builder.terminal import TerminalProgress

    progress = TerminalProgress(Console(stderr=True))
    places = Places.from_environment()
    for name in names:
        if name not in NAMED:
            raise unknown(name)
    rows = []
    for name in names:
        folder = ensure(NAMED[name], places, progress)
        progress.say(f"{name} is in {folder} ({NAMED[name].licence})")
        rows.append({"name": name, "folder": str(folder), "licence": NAMED[name].licence})
    if as_json:
        click.echo(json.dumps({"data": rows}))


data.add_command(check_data)
data.add_command(data_schema)
data.add_command(prepare_data)
