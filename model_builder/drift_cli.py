"""``model-builder drift``: how far new rows lie from those that a release was built on."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from model_builder.releases_cli import JSON_OPTION, STORE_OPTION, line_and_release

DRIFTED = 3
"""Exit code of ``--strict``."""


@click.command("drift")
@click.argument("name", metavar="LINE/RELEASE")
@click.option("--data", "data_name", metavar="PATH|NAME", required=True, help="The new rows.")
@STORE_OPTION
@click.option("--strict", is_flag=True, help="End with 3 if anything has drifted.")
@JSON_OPTION
@click.pass_context
def drift(
    ctx: click.Context, name: str, data_name: str, store_url: str, strict: bool, as_json: bool
) -> None:
    """Compare the features and the score of new rows with those of a risk release.

    PSI, the population stability index: 0.1 is a shift, 0.25 a large one. Drifted is what is at
    least 0.1 and unlikely by chance. New rows need no label.
    """
    from model_builder.datasets import resolve
    from model_builder.risk.drift import shifts
    from triton_models.release import FUSED, network_path
    from triton_models.store import ReleaseStore

    store = ReleaseStore(store_url)
    manifest = store.manifest(*line_and_release(name))
    with tempfile.TemporaryDirectory(prefix="model-builder-drift-") as scratch:
        models = Path(scratch, "models")
        store.fetch_models(manifest, models)
        model = (models / network_path(manifest.model_of(FUSED))).read_bytes()
    rows, found = shifts(manifest, resolve(data_name), model)
    if as_json:
        shown = [asdict(shift) for shift in found]
        click.echo(json.dumps({"release": name, "rows": rows, "shifts": shown}))
    else:
        from rich.console import Console

        from model_builder.terminal import plain_table

        header = (f"{rows} rows", "PSI", "by chance", "missing", "unknown", "drift")
        table = [
            (
                shift.name if shift.kind != "score" else "(score)",
                f"{shift.psi:.3f}",
                f"{shift.p_value:.2g}",
                f"{shift.missing:.1%}",
                f"{shift.unknown:.1%}",
                "yes" if shift.drifted else "no",
            )
            for shift in found
        ]
        Console(highlight=False, markup=False).print(plain_table(header, table))
    if strict and any(shift.drifted for shift in found):
        ctx.exit(DRIFTED)
