"""How well and how fast each strategy fine-tunes MiniLM on short texts, and what it trains.

    .venv/bin/python benchmarks/fine_tuning.py

The texts are those of ``tests/support/intents.py``: 20 intents, tested on ways to say them that
were in no training text. Learning rates are the same for strategies of a kind.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

HEAD = ["classifier", "bert.pooler"]
LOW_RANK = {"lora_rank": 16, "lora_alpha": 32, "head": HEAD, "warmup_share": 0.1}
WAYS: dict[str, dict[str, Any]] = {
    "full": {"learning_rate": 3e-4, "warmup_share": 0.1},
    "layer-wise decay": {"learning_rate": 3e-4, "layer_decay": 0.8},
    "gradual": {"learning_rate": 3e-4, "strategy": "gradual"},
    "lora": {"learning_rate": 1e-3, "strategy": "lora", **LOW_RANK},
    "dora": {"learning_rate": 1e-3, "strategy": "dora", **LOW_RANK},
    "head": {"learning_rate": 1e-2, "strategy": "head"},
}


@click.command()
@click.option("--rows", default=800, show_default=True, help="Training texts.")
@click.option("--epochs", default=5, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(list(WAYS)))
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(rows: int, epochs: int, only: tuple[str, ...], as_json: bool) -> None:
    """Compare the strategies."""
    import minilm
    import torch
    from intents import LABELS, intents

    from model_builder.terminal import TerminalProgress
    from model_builder.training.config import TrainingConfig
    from model_builder.training.strategies import adapt

    console = Console(stderr=True)
    found: dict[str, dict[str, float]] = {}
    for way in only or WAYS:
        settings = dict(WAYS[way])
        network, tokenizer = minilm.load(len(LABELS))
        train, validation, test = (
            minilm.encode(tokenizer, *intents(*part))
            for part in ((rows, 1), (200, 2), (400, 3, True))
        )
        probe, _ = minilm.load(len(LABELS))
        whole = sum(weight.numel() for weight in probe.parameters())
        config = TrainingConfig(
            **{key: value for key, value in settings.items() if key != "learning_rate"}
        )
        adapt(probe, config).start_epoch(0)
        learning = sum(w.numel() for w in probe.parameters() if w.requires_grad)
        began = time.perf_counter()
        minilm.fine_tune(
            network, train, validation, epochs=epochs, progress=TerminalProgress(console),
            **settings,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        with torch.no_grad():
            right = minilm.accuracy(network, test)
        found[way] = {"trained": learning / whole, "accuracy": right, "seconds": seconds}
        console.print(f"{way}: {found[way]}")
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table("strategy", box=box.SIMPLE_HEAD, title=f"{rows} texts, {epochs} epochs")
    for column in ("weights trained", "accuracy (unseen ways)", "seconds"):
        table.add_column(column, justify="right")
    for way, of in found.items():
        table.add_row(way, f"{of['trained']:.1%}", f"{of['accuracy']:.1%}", f"{of['seconds']:.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
