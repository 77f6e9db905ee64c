"""Notes in memory, with what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.diagnosis.dataset import SplitData
from model_builder.diagnosis.duplicates import keys_of


@dataclass(frozen=True)
class Part:
    """One split."""

    notes: tuple[str, ...]
    target: npt.NDArray[np.int64]
    """``(rows,)``."""
    groups: npt.NDArray[np.str_] | None = None
    """``(rows,)``, the subgroup of each."""

    def __len__(self) -> int:
        """Return the rows."""
        return len(self.notes)

    def chosen(self, rows: npt.NDArray[Any]) -> Part:
        """Return some of the rows, by a mask or by their places."""
        places = np.arange(len(self))[rows]
        groups = None if self.groups is None else self.groups[places]
        return Part(tuple(self.notes[i] for i in places), self.target[places], groups)

    def keys(self) -> list[bytes]:
        """Return a key of each note: the same for those that differ in spaces and case alone."""
        return keys_of(" ".join(note.casefold().split()).encode() for note in self.notes)


NoteData = SplitData[Part]
"""A data set."""
