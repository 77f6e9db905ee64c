"""``promote``, ``shadow`` and ``rollback``: which releases answer from now on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from model_builder.releases_cli import JSON_OPTION, STORE_OPTION, line_and_release

if TYPE_CHECKING:
    from model_builder.routing import Change
    from triton_models.release import Routes

_AFTER = click.option(
    "--after",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Only if the route file in force is still this one, as `releases list` shows it.",
)


class Share(click.ParamType):
    """A share of a line's calls: ``5%`` or ``0.05``."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the share in (0, 1]."""
        if isinstance(value, float):
            return value
        text = str(value)
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"must be like 5% or 0.05, got '{text}'", param, ctx)
        if not 0 < share <= 1:
            self.fail(f"must be above 0 and at most 100%, got '{text}'", param, ctx)
        return share


@click.command()
@click.argument("name", metavar="LINE/RELEASE")
@click.option(
    "--weight",
    type=Share(),
    default=1.0,
    metavar="SHARE",
    help="Its share of the line's calls, such as 5%; those that answer now keep the rest. By "
    "default all.",
)
@click.option("--unproven", is_flag=True, help="Also if it was built without the proof.")
@STORE_OPTION
@_AFTER
@JSON_OPTION
def promote(
    name: str, weight: float, unproven: bool, store_url: str, after: int | None, as_json: bool
) -> None:
    """Have a release answer the calls of its line, or a share of them.

    Gateways load it first, and move calls when it is ready everywhere. Exits 1 if somebody else
    changed the routes at the same time: then nothing was written.
    """
    from model_builder import routing
    from triton_models.store import ReleaseStore

    line, release = line_and_release(name)
    store = ReleaseStore(store_url)
    change = routing.promote(store, line, release, weight, after, unproven=unproven)
    _show(change, as_json)


@click.command()
@click.argument("name", metavar="LINE/RELEASE|LINE")
@click.option("--stop", is_flag=True, help="Have no release of LINE asked in the shadow any more.")
@STORE_OPTION
@_AFTER
@JSON_OPTION
def shadow(name: str, stop: bool, store_url: str, after: int | None, as_json: bool) -> None:
    """Have a release asked what its line is asked, to measure where it would answer otherwise.

    Its answers go to nobody. The gateway's log says how often they differ.
    """
    from model_builder import routing
    from triton_models.store import ReleaseStore

    if stop:
        line, release = name.partition("/")[0], None
    else:
        line, release = line_and_release(name)
    _show(routing.shadow(ReleaseStore(store_url), line, release, after), as_json)


@click.command()
@click.argument("domain", metavar="DOMAIN|LINE")
@STORE_OPTION
@_AFTER
@JSON_OPTION
def rollback(domain: str, store_url: str, after: int | None, as_json: bool) -> None:
    """Go back to what answered a domain before; once more goes back further."""
    from model_builder import routing
    from triton_models.store import ReleaseStore

    _show(routing.rollback(ReleaseStore(store_url), domain, after), as_json)


def _show(change: Change, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"number": change.number} | change.after.model_dump(mode="json")))
        return
    click.echo(f"Route file {change.number} is in force ({change.note}).", err=True)
    for line in sorted(change.before.lines.keys() | change.after.lines.keys()):
        before, after = _text(change.before, line), _text(change.after, line)
        changed = f"{after}, before: {before}" if before != after else f"{after}, as before"
        click.echo(f"  {line}: {changed}", err=True)


def _text(routes: Routes, line: str) -> str:
    targets = sorted(routes.lines.get(line, ()), key=lambda one: -one.weight)
    shares = [f"{one.release} {one.weight:.4g}" for one in targets] or ["nothing"]
    if line in routes.shadows:
        shares.append(f"{routes.shadows[line]} in the shadow")
    return " + ".join(shares)
