"""Training batches: windows over the users' histories, so that all of a long one is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from model_builder.recsys.sequences import Items, Sequences

Batch = dict[str, torch.Tensor]

_MIXED = 32
"""Batches' worth of windows that are sorted by length among each other: windows of a batch are
padded to its longest, and those that are alike need little."""


@dataclass(frozen=True)
class Windows:
    """The windows of one epoch.

    Each reads up to ``L`` items of one user and is asked for the one after each; over all
    windows every item but a user's first is asked for exactly once.
    """

    begins: npt.NDArray[np.int64]
    """``(n,)``, where in all items, user after user, each window's first item stands."""
    lengths: npt.NDArray[np.int64]
    """``(n,)``, items that it reads, in [1, L]."""

    def chosen(self, which: npt.NDArray[np.int64]) -> Windows:
        """Return some of them, in that order."""
        return Windows(self.begins[which], self.lengths[which])


class WindowBatches:
    """Cuts the histories anew for each epoch, at a random place for each user."""

    def __init__(self, sequences: Sequence[Items], length: int, batch_size: int, seed: int) -> None:
        """Take the histories.

        Args:
            sequences: Of each user, what may be learnt from, oldest first.
            length: ``L``, items that the network reads.
            batch_size: Windows of full length in a batch; it takes more of shorter ones.
            seed: Of the cuts and of the order.
        """
        runs = Sequences.of(sequences)
        learnt = runs.chosen(runs.lengths >= 2)
        self._items = runs.items
        self._gaps = runs.gaps
        self._begins = learnt.begins
        self._asked = learnt.lengths - 1
        self._length = length
        self._places = batch_size * length
        self._seed = seed

    def steps(self, epochs: int) -> int:
        """Return the batches of the first ``epochs`` epochs; not all need have as many."""
        return sum(len(self(epoch)) for epoch in range(epochs))

    def __call__(self, epoch: int) -> EpochBatches:
        """Return the batches of an epoch."""
        windows = self.cut(epoch)
        draws = np.random.default_rng([self._seed, epoch, 1])
        mixed = windows.chosen(draws.permutation(len(windows.begins)))
        groups = self._grouped(mixed.lengths)
        draws.shuffle(groups)
        return EpochBatches(self, [mixed.chosen(group) for group in groups])

    def cut(self, epoch: int) -> Windows:
        """Return the windows of an epoch."""
        draws = np.random.default_rng([self._seed, epoch, 0])
        longest = self._length
        # Whoever fits into one window is not cut.
        first = draws.integers(1, longest + 1, len(self._asked))
        first = np.where(self._asked <= longest, self._asked, first)
        counts = 1 + -(-(self._asked - first) // longest)
        number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        ends = np.repeat(first, counts) + number * longest
        ends = np.minimum(ends, np.repeat(self._asked, counts))
        starts = np.maximum(np.repeat(first, counts) + (number - 1) * longest, 0)
        return Windows(np.repeat(self._begins, counts) + starts, ends - starts)

    def _grouped(self, lengths: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """Part windows into batches of alike lengths and of about as many items each."""
        if not len(lengths):
            return []
        together = max(1, round(_MIXED * self._places / float(lengths.mean())))
        groups: list[npt.NDArray[np.int64]] = []
        for start in range(0, len(lengths), together):
            part = start + np.argsort(lengths[start : start + together], kind="stable")
            ends = np.cumsum(lengths[part])
            batches = max(1, round(int(ends[-1]) / self._places))
            # By the middle of each window, so that none is left over behind the last batch.
            number = (ends - lengths[part] / 2) * batches // ends[-1]
            groups += np.split(part, np.flatnonzero(np.diff(number)) + 1)
        return groups

    def batch(self, windows: Windows) -> Batch:
        """Return ``history`` and ``labels``, each ``(b, longest)`` int64, padded on the right.

        And likewise ``gaps``, from each item to the next, where they are known.
        """
        place = np.arange(int(windows.lengths.max()))
        read = place < windows.lengths[:, None]  # (b, longest)
        at = np.where(read, windows.begins[:, None] + place, 0)
        found = {"history": self._items[at], "labels": self._items[at + 1]}
        if self._gaps is not None:
            found["gaps"] = self._gaps[at]
        return {
            name: torch.from_numpy(np.where(read, values, 0).astype(np.int64))
            for name, values in found.items()
        }


class EpochBatches(Sequence[Batch]):
    """The batches of one epoch, each cut out when it is asked for."""

    def __init__(self, cutter: WindowBatches, batches: list[Windows]) -> None:
        self._cutter = cutter
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, place: int) -> Batch:  # type: ignore[override]
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self._cutter.batch(self._batches[place])
