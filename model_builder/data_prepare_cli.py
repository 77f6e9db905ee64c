"""``model-builder data prepare``: what a network that is trained elsewhere learns from."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("prepare")
@click.argument("name", metavar="PATH|NAME")
@click.option(
    "--line",
    required=True,
    type=click.Choice(["score-risk", "diagnose-measurements"]),
    help="What the network shall answer.",
)
@click.option(
    "--out",
    required=True,
    metavar="FILE.npz",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it.",
)
@click.option("--label", metavar="COLUMN", help="The column to predict; by default the last.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="test_share, split, split_column; as in the later import.",
)
@click.option("--seed", type=int, help="Of the split; as in the later import.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def prepare_data(
    name: str,
    line: str,
    out: Path,
    label: str | None,
    settings: tuple[str, ...],
    seed: int | None,
    as_json: bool,
) -> None:
    """Write the train and validation rows of a table as arrays, the test rows left out.

    For each of both: `inputs` (prepared columns), `numbers` and `categories` (cleaned features)
    and `target`. A network that learns from them can be imported with the same seed.
    """
    import numpy as np

    from model_builder.datasets import resolve
    from model_builder.importing.release import LINES, read_import_config
    from model_builder.importing.tables import read_for_import
    from model_builder.progress import SilentProgress
    from model_builder.tabular.loading import load_table

    config = read_import_config(line, None, settings, seed)
    data = resolve(name, label=label)
    table = load_table(data, LINES[line].rule, SilentProgress(), config.split_by)
    read = read_for_import(table, config)
    rows = {
        "train": read.splits.training,
        "validation": read.splits.development[read.splits.judging],
    }
    arrays = {}
    for split, chosen in rows.items():
        for each in (*read.taken("prepared"), *read.taken("features")):
            arrays[f"{split}_{each.place}"] = each.values[chosen]
        arrays[f"{split}_target"] = table.target[chosen]
    np.savez(out, **arrays)
    slots = [
        {"feature": read.encoding.features[slot.feature].name, "kind": slot.kind}
        | ({"value": slot.value} if slot.kind in ("code", "category") else {})
        for slot in read.encoding.slots
    ]
    said = {
        "file": str(out),
        "arrays": {key: list(array.shape) for key, array in arrays.items()},
        "labels": list(table.labels),
        "inputs": slots,
        "features": [feature.model_dump(mode="json") for feature in read.encoding.features],
    }
    if as_json:
        click.echo(json.dumps(said))
        return
    for key, array in arrays.items():
        click.echo(f"{key:<24} {array.dtype} {list(array.shape)}", err=True)
