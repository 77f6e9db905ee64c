"""Training batches: windows over the users' histories, so that all of a long one is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from model_builder.recsys.data import Items

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Windows:
    """The windows of one epoch.

    Each window reads up to ``L`` items and is asked for the item after each of the newest
    ``asked``; over all windows every item but a user's first is asked for exactly once.
    """

    ends: npt.NDArray[np.int64]
    """``(n,)``, where in all items, user after user, each window's last label stands."""
    asked: npt.NDArray[np.int64]
    """``(n,)``, in [1, L]."""


class WindowBatches:
    """Cuts the histories anew for each epoch, at a random place for each user."""

    def __init__(self, sequences: Sequence[Items], length: int, batch_size: int, seed: int) -> None:
        """Take the histories.

        Args:
            sequences: Of each user, what may be learnt from, oldest first.
            length: ``L``, items that the network reads.
            batch_size: Windows in a batch.
            seed: Of the cuts and of the order.
        """
        lengths = np.array([len(items) for items in sequences], np.int64)
        self._items = np.concatenate(sequences)
        self._begins = np.cumsum(lengths) - lengths
        self._first = np.repeat(self._begins, lengths)  # of each item: where its user begins
        self._lengths = lengths
        self._length = length
        self._batch_size = batch_size
        self._seed = seed

    def steps(self, epochs: int) -> int:
        """Return the batches of the first ``epochs`` epochs; an epoch may have one more or less."""
        return sum(self._steps_of(epoch) for epoch in range(epochs))

    def __call__(self, epoch: int) -> EpochBatches:
        """Return the batches of an epoch."""
        windows = self.cut(epoch)
        order = np.random.default_rng([self._seed, epoch, 1]).permutation(len(windows.ends))
        mixed = Windows(windows.ends[order], windows.asked[order])
        return EpochBatches(self, mixed, self._batch_size)

    def cut(self, epoch: int) -> Windows:
        """Return the windows of an epoch."""
        ends: list[npt.NDArray[np.int64]] = []
        asked: list[npt.NDArray[np.int64]] = []
        learnt = self._lengths >= 2
        for begin, length, newest in zip(
            self._begins[learnt], self._lengths[learnt], self._newest(epoch), strict=True
        ):
            older = np.arange(length - 1 - newest, 0, -self._length)
            last = np.append(length - 1, older)
            ends.append(begin + last)
            asked.append(last - np.append(older, 0))
        if not ends:
            return Windows(np.empty(0, np.int64), np.empty(0, np.int64))
        return Windows(np.concatenate(ends), np.concatenate(asked))

    def _newest(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the most that each user's newest window asks for, in [1, L]."""
        draws = np.random.default_rng([self._seed, epoch, 0])
        return draws.integers(1, self._length + 1, int((self._lengths >= 2).sum()))

    def _steps_of(self, epoch: int) -> int:
        lengths = self._lengths[self._lengths >= 2]
        older = np.maximum(lengths - 1 - self._newest(epoch), 0)
        windows = len(lengths) + int((-(-older // self._length)).sum())
        return -(-windows // self._batch_size)

    def batch(self, ends: npt.NDArray[np.int64], asked: npt.NDArray[np.int64]) -> Batch:
        """Return ``history`` and ``labels``, each ``(b, L)`` int64, of some windows."""
        back = np.arange(self._length, 0, -1)  # (L,), from the label of the last place
        places = ends[:, None] - back  # (b, L)
        known = places >= self._first[ends][:, None]
        history = np.where(known, self._items[np.maximum(places, 0)], 0)
        # What follows a place stands one further; of older labels another window takes care.
        labels = np.where(back <= asked[:, None], self._items[np.maximum(places + 1, 0)], 0)
        return {"history": torch.from_numpy(history), "labels": torch.from_numpy(labels)}


class EpochBatches(Sequence[Batch]):
    """The batches of one epoch, each cut out when it is asked for."""

    def __init__(self, cutter: WindowBatches, windows: Windows, batch_size: int) -> None:
        self._cutter = cutter
        self._windows = windows
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._windows.ends) // self._batch_size)

    def __getitem__(self, place: int) -> Batch:  # type: ignore[override]
        if not 0 <= place < len(self):
            raise IndexError(place)
        chosen = slice(place * self._batch_size, (place + 1) * self._batch_size)
        return self._cutter.batch(self._windows.ends[chosen], self._windows.asked[chosen])
