"""``gateway check-config``: says everything that is wrong with a file of settings."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("check-config")
@click.argument("config", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.pass_context
def check_config(ctx: click.Context, config: Path, as_json: bool) -> None:
    """Check FILE, the environment (TRIDENT_<NAME>), and the files that they name.

    Certificates must fit their keys, keys and permissions must be readable. Says all that is
    wrong at once, and ends with 1 if anything is. Nothing is started and nobody is asked.
    """
    from gateway.checking import check_config as violations_of

    violations = violations_of(config)
    if as_json:
        click.echo(json.dumps({"valid": not violations, "violations": violations}, indent=2))
    elif violations:
        click.echo(f"{config} cannot be used:", err=True)
        for name, text in violations.items():
            click.echo(f"  {name}: {text}", err=True)
    else:
        click.echo(f"{config} can be used.", err=True)
    if violations:
        ctx.exit(1)
