"""``gateway keys``: makes, lists and revokes API keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gateway.security.keys import KeyFile

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group("keys")
def keys() -> None:
    """Make and revoke the API keys of clients: the file of the setting keys_file.

    The file has only hashes of keys. Gateways read it anew within a second or two.
    """


def _file(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--file",
        "path",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="TRIDENT_KEYS_FILE",
        required=True,
        metavar="FILE",
        help="The file of the keys.",
    )(command)


@keys.command()
@click.argument("client")
@_file
@click.option(
    "--permit",
    "permissions",
    multiple=True,
    required=True,
    metavar="DOMAIN[/METHOD]",
    help="What it may call: risk, 'risk/Batch*', '*'; repeatable.",
)
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is good; by default ever.")
@_JSON
def add(
    client: str, path: Path, permissions: tuple[str, ...], days: int | None, as_json: bool
) -> None:
    """Make a key for CLIENT and print it: once, for nobody can read it again.

    A client can have several, so that a new one is in use before the old one is revoked.

    Example: gateway keys add billing --permit risk --permit model --file keys.yaml
    """
    from pydantic import ValidationError

    from gateway.security.errors import violations_of
    from gateway.security.keys import KeyFile, alone_with, new_key, write_keys
    from gateway.transport.api import api_methods

    methods = api_methods()
    if unknown := methods.unknown(permissions):
        raise click.BadParameter(
            f"{', '.join(unknown)} permits nothing; domains are {', '.join(methods.domains)}",
            param_hint="--permit",
        )
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) if days else None
    try:
        key, entry = new_key(client, permissions, expires)
    except ValidationError as error:
        said = "; ".join(violations_of(error).values())
        raise click.BadParameter(said, param_hint="CLIENT") from None
    with alone_with(path):
        known = _read(path) if path.exists() else KeyFile()
        write_keys(path, KeyFile(keys=(*known.keys, entry)))
    if as_json:
        click.echo(json.dumps({"id": entry.id, "client": client, "key": key}))
        return
    click.echo(f"Key {entry.id} of {client}; it cannot be shown again:", err=True)
    click.echo(key)


@keys.command("list")
@_file
@_JSON
def list_keys(path: Path, as_json: bool) -> None:
    """List the keys by their IDs: whose they are, what they permit, until when."""
    found = _read(path).keys
    if as_json:
        shown = [one.model_dump(mode="json", exclude={"sha256"}) for one in found]
        click.echo(json.dumps(shown, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    now = datetime.now(UTC)
    table = Table(box=None, pad_edge=False)
    for column in ("id", "client", "permits", "created", "expires"):
        table.add_column(column)
    for one in found:
        expires = "never" if one.expires is None else f"{one.expires:%Y-%m-%d}"
        if one.expires is not None and one.expires <= now:
            expires += " (expired)"
        table.add_row(
            one.id, one.client, " ".join(one.permissions), f"{one.created:%Y-%m-%d}", expires
        )
    Console(highlight=False, markup=False, emoji=False).print(table)


@keys.command()
@click.argument("key_id", metavar="ID")
@_file
def revoke(key_id: str, path: Path) -> None:
    """Take a key back: gateways refuse it within a second or two."""
    from gateway.security.keys import KeyFile, alone_with, write_keys

    with alone_with(path):
        known = _read(path).keys
        left = tuple(one for one in known if one.id != key_id)
        if len(left) == len(known):
            # Not repeated: somebody may have given the key itself.
            raise click.ClickException(f"no key with this ID is in {path}")
        write_keys(path, KeyFile(keys=left))
    click.echo(f"Key {key_id} is revoked.", err=True)


def _read(path: Path) -> KeyFile:
    from gateway.security.errors import UnusableFile
    from gateway.security.keys import read_keys
    from gateway.transport.api import api_methods

    try:
        return read_keys(path, api_methods())
    except UnusableFile as error:
        raise click.ClickException(str(error)) from error
