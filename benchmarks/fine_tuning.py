"""How well and how fast each strategy fine-tunes MiniLM on texts, and how much of it it trains.

    .venv/bin/python benchmarks/fine_tuning.py
    .venv/bin/python benchmarks/fine_tuning.py --snippets vaderSentiment-3.3.2.tar.gz

The first learns 20 intents from made-up texts and is tested on ways to say them that were in no
training text (``tests/support/intents.py``). The second learns whether sentences from film reviews
are kind (``tests/support/snippets.py``, which says where the file comes from). Settings were chosen
by the validation split; the test split is asked once, after the epoch that validated best.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

WAYS: dict[str, dict[str, Any]] = {
    "full": {"learning_rate": 2e-4},
    "layer-wise decay": {"learning_rate": 2e-4, "layer_decay": 0.8},
    "gradual": {"learning_rate": 2e-4, "strategy": "gradual"},
    "lora": {"learning_rate": 1e-4, "strategy": "lora"},
    "dora": {"learning_rate": 1e-4, "strategy": "dora"},
    "head": {"learning_rate": 1e-2, "strategy": "head"},
}
WARM_UP = {"warmup_share": 0.1}


@click.command()
@click.option("--snippets", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rows", default=800, show_default=True, help="Training texts.")
@click.option("--epochs", default=5, show_default=True)
@click.option("--seeds", default=1, show_default=True, help="Runs of each, from other beginnings.")
@click.option("--only", multiple=True, type=click.Choice(list(WAYS)))
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(
    snippets: Path | None, rows: int, epochs: int, seeds: int, only: tuple[str, ...], as_json: bool
) -> None:
    """Compare the strategies."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    labels, splits = _texts(snippets, rows)
    console = Console(stderr=True)
    found: dict[str, dict[str, Any]] = {}
    for way in only or WAYS:
        runs = []
        for seed in range(seeds):
            runs.append(_fine_tuned(len(labels), splits, epochs, seed, WAYS[way] | WARM_UP))
            console.print(f"{way}: {runs[-1]}")
        found[way] = {
            "trained": runs[0]["trained"],
            "accuracy": statistics.mean(run["accuracy"] for run in runs),
            "accuracies": [run["accuracy"] for run in runs],
            "seconds": statistics.mean(run["seconds"] for run in runs),
        }
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table("strategy", box=box.SIMPLE_HEAD, title=f"{rows} texts, {epochs} epochs")
    for column in ("weights trained", "accuracy (test)", "lowest to highest", "seconds"):
        table.add_column(column, justify="right")
    for way, of in found.items():
        spread = f"{min(of['accuracies']):.1%} – {max(of['accuracies']):.1%}"
        table.add_row(
            way, f"{of['trained']:.1%}", f"{of['accuracy']:.1%}", spread, f"{of['seconds']:.0f}"
        )
    console.print(table)


def _texts(snippets: Path | None, rows: int) -> tuple[tuple[str, ...], list[Any]]:
    import intents
    import snippets as reviews

    if snippets is not None:
        return reviews.LABELS, list(reviews.snippets(snippets, rows))
    parts = ((rows, 1), (200, 2), (400, 3, True))
    return intents.LABELS, [intents.intents(*part) for part in parts]


def _fine_tuned(
    labels: int, splits: list[Any], epochs: int, seed: int, settings: dict[str, Any]
) -> dict[str, float]:
    import minilm
    import torch

    from model_builder.training.config import TrainingConfig
    from model_builder.training.strategies import adapt

    probe, tokenizer = minilm.load(labels)
    whole = sum(weight.numel() for weight in probe.parameters())
    config = {key: value for key, value in settings.items() if key != "learning_rate"}
    adapt(probe, TrainingConfig(**config)).start_epoch(0)
    # Of a gradual training, what learns in its first epoch.
    learning = sum(weight.numel() for weight in probe.parameters() if weight.requires_grad)
    train, validation, test = (minilm.encode(tokenizer, *part) for part in splits)
    network, _ = minilm.load(labels, seed)
    began = time.perf_counter()
    minilm.fine_tune(network, train, validation, epochs=epochs, seed=seed, **settings)
    seconds = time.perf_counter() - began
    with torch.no_grad():
        right = minilm.accuracy(network, test)
    return {"trained": learning / whole, "accuracy": right, "seconds": seconds}


if __name__ == "__main__":
    main()
