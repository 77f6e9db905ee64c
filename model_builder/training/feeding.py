"""From batches to parts on a device: made ahead, split, weighed, sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic

import torch
from accelerate.utils import recursively_apply
from torch.utils.data import DataLoader, Dataset

from model_builder.training.results import Batch, Batches

Weigh = Callable[[Batch], float]
"""How much a batch counts beside another one; by default its rows."""


class _Rest(Dataset[Batch], Generic[Batch]):
    """The batches from a place on."""

    def __init__(self, batches: Batches[Batch], start: int) -> None:
        self._batches = batches
        self._start = start

    def __len__(self) -> int:
        return max(0, len(self._batches) - self._start)

    def __getitem__(self, place: int) -> Batch:
        return self._batches[self._start + place]


def made_ahead(batches: Batches[Batch], start: int = 0, workers: int = 0) -> Iterator[Batch]:
    """Give the batches from place ``start`` on, in order; ``workers`` processes make them."""
    rest = _Rest(batches, start)
    if not workers:
        yield from (rest[place] for place in range(len(rest)))
        return
    # A generator of its own: the loader draws a seed, and what is drawn after must not shift.
    yield from DataLoader(
        rest,
        batch_size=None,
        num_workers=workers,
        generator=torch.Generator(),
        pin_memory=torch.cuda.is_available(),
    )


def rows(batch: Any) -> int:
    """Return the rows of a batch: the first axis of its first tensor."""
    if isinstance(batch, torch.Tensor):
        return len(batch)
    values = batch.values() if isinstance(batch, Mapping) else batch
    return rows(next(iter(values)))


def split(
    batch: Batch, parts: int, weigh: Weigh[Batch] = rows, process: int = 0, processes: int = 1
) -> Iterator[tuple[Batch, float]]:
    """Give the parts of a batch that one process computes, with the factor on each one's loss.

    The factors are such that the gradient of all parts of all processes together, which are
    averaged over the processes, is that of the whole batch, whatever the sizes of the parts.

    Args:
        batch: The whole; every process has the same.
        parts: Of each process.
        weigh: What the mean loss of a part is a mean over.
        process: The one that asks, from 0.
        processes: How many there are.
    """
    count = parts * processes
    if count == 1:
        yield batch, 1.0
        return
    size = rows(batch)
    whole = max(float(weigh(batch)), 1e-12)
    for place in range(process * parts, (process + 1) * parts):
        start, end = size * place // count, size * (place + 1) // count
        if start == end:  # as many backward passes in every process, or they wait for each other
            yield _rows(batch, 0, 1), 0.0
        else:
            part = _rows(batch, start, end)
            yield part, float(weigh(part)) / whole * processes


def _rows(batch: Batch, start: int, end: int) -> Batch:
    return recursively_apply(lambda tensor: tensor[start:end], batch)
