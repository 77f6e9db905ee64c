"""What the training loop costs over the bare forward, backward and step.

    .venv/bin/python benchmarks/training_loop.py

The loop is that of ``model_builder/training/loop.py`` as ``build`` runs it: it follows a schedule,
looks out for checkpoints and writes ``metrics.csv``. The bare one does none of it. Both take the
same batches through the same network, in turns, and move the weights by the same optimiser: once
without clipping the gradient and once, as is the default, with it. What is left is the loop's own.
The last column asks what the defaults cost whoever would write the bare loop without clipping and
with torch's own choice of an AdamW: it compares different work.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from model_builder.progress import SilentProgress
from model_builder.recsys.fitting import surprise
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.tabular.network import TabularNetwork
from model_builder.tabular.training import Batch, member_loss
from model_builder.tracking.journals import open_journals
from model_builder.tracking.runs import Run
from model_builder.training.config import TrainingConfig
from model_builder.training.loop import FitSettings, fit
from model_builder.training.optimizers import make_optimizer
from model_builder.training.seeding import seed_everything
from model_builder.training.session import Session

Case = tuple[Callable[[], nn.Module], list, Callable]


def table() -> Case:
    """The networks of ``risk`` on the German credits: the smallest that there are."""
    batches = [
        Batch(torch.randn(64, 61), torch.randint(0, 2, (64,)), torch.ones(64, 10))
        for _ in range(12)
    ]
    return (
        lambda: TabularNetwork(members=10, columns=61, logits=1, width=32, depth=1, dropout=0.5),
        batches,
        member_loss,
    )


def recommender() -> Case:
    """The network of ``recsys``, with the catalogue of MovieLens' small set."""
    items = [torch.randint(1, 9000, (32, 51)) for _ in range(12)]
    batches = [{"history": some[:, :-1], "labels": some[:, 1:]} for some in items]
    return (
        lambda: NextItemNetwork(
            torch.ones(9001), width=64, layers=1, heads=1, history_length=50, dropout=0.4,
            negatives=4096,
        ),
        batches,
        surprise,
    )  # fmt: skip


def encoder() -> Case:
    """A small transformer that classifies."""

    def make() -> nn.Module:
        layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True, norm_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    batches = [(torch.randn(16, 32, 128), torch.randint(0, 128, (16,))) for _ in range(12)]
    return (
        make,
        batches,
        lambda model, batch: functional.cross_entropy(model(batch[0]).mean(1), batch[1]),
    )


Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "processor": time.process_time}
CASES = {"table": table, "recommender": recommender, "encoder": encoder}


def bare(
    model: nn.Module,
    batches: list,
    loss: Callable,
    steps: int,
    clock: Clock,
    *,
    clip: bool,
    plain: bool = False,
) -> float:
    """Return the seconds of ``steps`` steps with nothing around them.

    ``plain`` takes AdamW as torch has it by default.
    """
    weights = list(model.parameters())
    if plain:
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(weights, lr=1e-4)
    else:
        optimizer = make_optimizer(model, TrainingConfig(), learning_rate=1e-4, weight_decay=0.01)
    model.train()
    began = clock()
    for step in range(steps):
        loss(model, batches[step % len(batches)]).backward()
        if clip:
            nn.utils.clip_grad_norm_(weights, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return clock() - began


def looped(
    model: nn.Module,
    batches: list,
    loss: Callable,
    steps: int,
    clock: Clock,
    folder: Path,
    clip_norm: float,
) -> float:
    """Return the seconds of the same steps by our loop, from the first one's beginning."""
    times: list[float] = []

    def timed(model: nn.Module, batch: object) -> torch.Tensor:
        if not times:
            times.append(clock())
        return loss(model, batch)

    def validate(_: nn.Module) -> float:
        times.append(clock())
        return 0.0

    run = Run(id="b", task="b", data="", data_sha256="", config={}, started=datetime.now(UTC))
    journals = open_journals(folder, run, [])
    with Session(run_id="b", folder=folder, journal=journals):
        fit(
            model,
            batches=lambda _: [batches[step % len(batches)] for step in range(steps)],
            steps=steps,
            loss=timed,
            validate=validate,
            settings=FitSettings(1, 0, 1e-4, training=TrainingConfig(clip_norm=clip_norm)),
            progress=SilentProgress(),
        )
    journals.finish(run)
    return times[1] - times[0]


def measured(make: Callable[[], nn.Module], case: tuple) -> dict[str, float]:
    """Return the seconds of each kind of loop, one after the other."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        return {
            "bare": bare(make(), *case, clip=False),
            "loop": looped(make(), *case, Path(first), 0.0),
            "bare_clipping": bare(make(), *case, clip=True),
            "loop_clipping": looped(make(), *case, Path(second), 1.0),
            "plain": bare(make(), *case, clip=False, plain=True),
        }


RATIOS = {
    "ratio": ("loop", "bare"),
    "ratio_clipping": ("loop_clipping", "bare_clipping"),
    "ratio_defaults": ("loop_clipping", "plain"),
}


@click.command()
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=0.3, show_default=True, help="About, of each measurement.")
@click.option(
    "--clock",
    type=click.Choice(list(CLOCKS)),
    default="wall",
    show_default=True,
    help="What is measured; 'processor' is little disturbed by who else uses the machine.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def main(rounds: int, seconds: float, clock: str, as_json: bool) -> None:
    """Compare the loop with the bare steps."""
    console = Console(stderr=as_json)
    found: dict[str, dict[str, float]] = {}
    for name, make_case in CASES.items():
        seed_everything(0)
        make, batches, loss = make_case()
        of_twelve = bare(make(), batches, loss, 12, time.perf_counter, clip=False)
        steps = max(12, round(seconds * 12 / of_twelve))
        times = [measured(make, (batches, loss, steps, CLOCKS[clock])) for _ in range(rounds)]
        found[name] = {
            f"{kind}_ms": 1e3 * statistics.median(one[kind] for one in times) / steps
            for kind in times[0]
        } | {
            ratio: statistics.median(one[ours] / one[theirs] for one in times)
            for ratio, (ours, theirs) in RATIOS.items()
        }
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table("network", box=box.SIMPLE_HEAD, title=f"A step, medians ({clock} time)")
    columns = ("bare, ms", "our loop, ms", "ratio", "ratio, both clip", "ours by default : plain")
    for column in columns:
        table.add_column(column, justify="right")
    for name, of in found.items():
        ratios = (f"{of[key]:.3f}" for key in RATIOS)
        table.add_row(name, f"{of['bare_ms']:.2f}", f"{of['loop_ms']:.2f}", *ratios)
    console.print(table)


if __name__ == "__main__":
    main()
