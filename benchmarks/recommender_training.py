"""What training a recommender on a log of MovieLens-1M's shape takes: time and memory.

    .venv/bin/python benchmarks/recommender_training.py

The log is generated: 6,040 users, 3,416 items, a million interactions, histories of 20 to 2,314
items with a mean of 165, popularity as steep as there, and an order to learn: users stay with a
theme for a while and move to a neighbouring one. The network and the sizes of its training are
those that ``model-builder build recsys`` chooses for it. How accurate it would be on real data,
this does not say.

``step in bare`` is the time of a whole step of an epoch (cutting the batch, forward, backward,
clipping, AdamW, schedule, journal) over that of the network's forward and backward alone on the
same batches, in the same run; ``plain torch`` is the same network with its loss written as one
``cross_entropy`` over all logits.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from torch.nn import functional

from model_builder.config import read_config
from model_builder.progress import SilentProgress
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import leave_one_out
from model_builder.recsys.evaluation import network_ranks
from model_builder.recsys.fitting import labels_in, network_of, surprise
from model_builder.recsys.precision import as_computed
from model_builder.recsys.sizing import Shape, sizes_for
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.recsys.windows import Batch, WindowBatches
from model_builder.training.loop import FitSettings, fit
from model_builder.training.seeding import seed_everything

Loss = Callable[[NextItemNetwork, Batch], torch.Tensor]

_THEMES = 60


@dataclass(frozen=True)
class LogShape:
    """How large the log is."""

    users: int = 6040
    items: int = 3416
    interactions: int = 999_611
    """Before lengths are cut to the bounds: some fewer are left."""
    shortest: int = 20
    longest: int = 2314


def generate(shape: LogShape, seed: int = 0) -> list[np.ndarray]:
    """Return each user's items, from 1, oldest first, none twice."""
    draws = np.random.default_rng(seed)
    lengths = draws.lognormal(4.55, 1.0, shape.users).clip(shape.shortest, shape.longest)
    lengths = lengths * shape.interactions / lengths.sum()
    lengths = lengths.clip(shape.shortest, min(shape.longest, shape.items)).astype(np.int64)
    popularity = 1 / (np.arange(shape.items) + 30.0) ** 0.9
    theme = draws.integers(_THEMES, size=shape.items)
    return [_walk(draws, popularity, theme, int(length)) for length in lengths]


def _walk(
    draws: np.random.Generator, popularity: np.ndarray, theme: np.ndarray, length: int
) -> np.ndarray:
    # Each item has a moment: when its theme comes up on this user's way, and some chance.
    start, speed = draws.integers(_THEMES), draws.uniform(0.5, 2)
    moment = ((theme - start) % _THEMES) * speed + draws.gumbel(0, 6, len(theme))
    taken = np.argsort(-(np.log(popularity) + draws.gumbel(size=len(theme))))[:length]
    return taken[np.argsort(moment[taken])] + 1


def plain_surprise(network: NextItemNetwork, batch: Batch) -> torch.Tensor:
    """Return the loss as one would write it without thinking of memory."""
    asked = batch["labels"] > 0
    states = network.states_of_begun(batch["history"])[asked]
    logits = states @ network.items.weight.T + network.bias
    return functional.cross_entropy(logits, batch["labels"][asked])


def timed(network: NextItemNetwork, batches: list[Batch], loss: Loss, half: bool) -> float:
    """Return the seconds of a forward and backward pass, the mean over some batches."""
    network.train()

    def passes(batch: Batch) -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            value = loss(network, batch)
        value.backward()

    passes(batches[0])
    began = time.perf_counter()
    for batch in batches:
        passes(batch)
    return (time.perf_counter() - began) / len(batches)


@click.command()
@click.option("--steps", default=20, show_default=True, help="That are timed, of an epoch.")
@click.option("--set", "settings", multiple=True, help="KEY=VALUE of the configuration.")
@click.option("--write", type=click.Path(path_type=Path), help="Write the log there, and stop.")
@click.option("--json", "as_json", is_flag=True)
def main(steps: int, settings: tuple[str, ...], write: Path | None, as_json: bool) -> None:
    """Measure and print."""
    sequences = generate(LogShape())
    if write is not None:
        lines = (f"{user} {' '.join(map(str, s))}" for user, s in enumerate(sequences, 1))
        write.write_text("\n".join(lines) + "\n")
        return
    config = read_config(RecsysConfig, settings=settings)
    splits = leave_one_out(sequences, "generated")
    sizes = sizes_for(config, Shape.of(splits, LogShape().items))
    seed_everything(0)
    training = as_computed(config.training)
    network = network_of(splits, LogShape().items, sizes, training.label_smoothing)
    cutter = WindowBatches(splits.training, sizes.history_length, sizes.batch_size, 0)
    epoch = cutter(0)
    some = [epoch[place] for place in range(min(steps, len(epoch)))]
    places = sum(int((batch["labels"] > 0).sum()) for batch in some)
    bare, plain = (
        timed(network, some, loss, training.precision == "bf16")
        for loss in (surprise, plain_surprise)
    )
    times: list[float] = []

    def noted(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        times.append(time.perf_counter())
        return surprise(model, batch)

    fit(
        network,
        batches=lambda _: [epoch[place] for place in range(len(some))],
        steps=len(some),
        loss=noted,
        validate=lambda _: times.append(time.perf_counter()) or 0.0,
        settings=FitSettings(1, sizes.batch_size, 1e-3, training=training),
        weigh=labels_in,
        progress=SilentProgress(),
    )
    step = (times[-1] - times[0]) / len(some)
    began = time.perf_counter()
    another = cutter(1)
    cut = [another[place] for place in range(len(some))]
    cutting = (time.perf_counter() - began) / len(cut)
    began = time.perf_counter()
    network_ranks(network, splits.validation)
    found = {
        "steps an epoch": len(epoch),
        "bare, ms": bare * 1e3,
        "plain torch, ms": plain * 1e3,
        "step, ms": (step + cutting) * 1e3,
        "step in bare": (step + cutting) / bare,
        "items a second": places / len(some) / (step + cutting),
        "epoch, s": len(epoch) * (step + cutting),
        "validation, s": time.perf_counter() - began,
        "epochs": sizes.epochs,
        "windows a batch": sizes.batch_size,
        "peak, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "threads": torch.get_num_threads(),
        "bf16": training.precision == "bf16",
    }
    if as_json:
        click.echo(json.dumps(found))
        return
    console = Console()
    console.print(sizes)
    for name, value in found.items():
        console.print(f"{name:>20}  {value:,.4g}")


if __name__ == "__main__":
    main()
