"""Many short runs of items, held as one array: what a log of tens of millions of rows needs.

A list of arrays costs some hundred bytes a user and a copy whenever it is cut. Here a run is two
numbers into one array that all splits share, so that leaving items out copies none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

Items = npt.NDArray[np.integer]
"""``(n,)``, items by their number: from 1, as in the catalogue; oldest first."""

Places = npt.NDArray[np.int64]
"""``(users,)``, places in the array of all items."""


class Sequences(Sequence[Items]):
    """Runs of one array; reads like a tuple of arrays."""

    def __init__(
        self,
        items: npt.NDArray[np.int32],
        begins: Places,
        ends: Places,
        gaps: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Take the runs.

        Args:
            items: ``(n,)`` int32, of all users; is not copied.
            begins: Where each run begins.
            ends: Where each run ends, exclusive, at ``begins`` or later.
            gaps: ``(n,)``, how long it was from each item to its user's next, as ``time_gaps``
                numbers it; ``None``: nobody asks for it.
        """
        self.items = items
        self.begins = begins
        self.ends = ends
        self.gaps = gaps

    @staticmethod
    def of(sequences: Iterable[Items]) -> Sequences:
        """Return the same runs held as one array."""
        if isinstance(sequences, Sequences):
            return sequences
        arrays = [np.asarray(each, np.int32) for each in sequences]
        bounds = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        items = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
        return Sequences(items, bounds[:-1], bounds[1:])

    @property
    def lengths(self) -> Places:
        """How many items each run has."""
        return self.ends - self.begins

    @property
    def total(self) -> int:
        """How many items all runs have."""
        return int(self.lengths.sum())

    def joined(self) -> npt.NDArray[np.int32]:
        """Return ``(total,)`` int32: run after run, a copy only where something lies between."""
        runs = self.chosen(self.lengths > 0)
        if not len(runs):
            return self.items[:0]
        if np.array_equal(runs.begins[1:], runs.ends[:-1]):
            return self.items[runs.begins[0] : runs.ends[-1]]
        if (runs.begins[1:] < runs.ends[:-1]).any():
            return np.concatenate(list(runs))
        # In order and apart: a mask is filled faster than many small arrays are joined.
        steps = np.zeros(len(self.items) + 1, np.int8)
        steps[runs.begins] += 1
        steps[runs.ends] -= 1
        return self.items[np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)]

    def places(self) -> Places:
        """Return ``(total,)`` int64: where in ``items`` those of all runs stand, run after run."""
        within = np.arange(self.total) - np.repeat(
            np.cumsum(self.lengths) - self.lengths, self.lengths
        )
        return np.repeat(self.begins, self.lengths) + within

    def counts(self, item_count: int) -> npt.NDArray[np.int64]:
        """Return ``(item_count + 1,)``: how often each item occurs; the first is of padding."""
        return np.bincount(self.joined(), minlength=item_count + 1)

    def chosen(self, users: npt.NDArray[np.bool_] | npt.NDArray[np.integer]) -> Sequences:
        """Return the runs of some users."""
        return Sequences(self.items, self.begins[users], self.ends[users], self.gaps)

    def until(self, ends: Places, longest: int | None = None) -> Sequences:
        """Return the runs up to other ends, of which the newest ``longest`` items."""
        begins = self.begins if longest is None else np.maximum(self.begins, ends - longest)
        return Sequences(self.items, begins, ends, self.gaps)

    def gaps_of(self, run: int) -> npt.NDArray[np.uint8]:
        """Return the gaps beside a run's items, ``(n,)``: 0 where they are not known."""
        begin, end = self.begins[run], self.ends[run]
        return np.zeros(end - begin, np.uint8) if self.gaps is None else self.gaps[begin:end]

    def __len__(self) -> int:
        return len(self.begins)

    @overload
    def __getitem__(self, place: int) -> npt.NDArray[np.int32]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequences: ...
    def __getitem__(self, place: int | slice) -> npt.NDArray[np.int32] | Sequences:
        if isinstance(place, slice):
            return Sequences(self.items, self.begins[place], self.ends[place], self.gaps)
        return self.items[self.begins[place] : self.ends[place]]

    def __iter__(self) -> Iterator[npt.NDArray[np.int32]]:
        for begin, end in zip(self.begins.tolist(), self.ends.tolist(), strict=True):
            yield self.items[begin:end]
