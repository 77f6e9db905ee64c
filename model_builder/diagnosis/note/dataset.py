"""Notes in memory, with what they are about, split three ways."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.diagnosis.duplicates import SPLITS, in_no_later_split, keys_of, leaks


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


@dataclass(frozen=True)
class NoteData:
    """A data set."""

    labels: tuple[str, ...]
    train: Part
    validation: Part
    test: Part
    protocol: str
    """How it was split, in a sentence."""
    findings: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Part]:
        """By split."""
        return dict(zip(SPLITS, (self.train, self.validation, self.test), strict=True))

    def counts(self) -> dict[str, int]:
        """Return rows by split."""
        return {name: len(part) for name, part in self.parts.items()}

    def split_sha256(self) -> str:
        """Return the hash of which note is in which split."""
        digest = hashlib.sha256()
        for name, part in self.parts.items():
            digest.update(name.encode())
            for key in sorted(note_keys(part.notes)):
                digest.update(key)
        return digest.hexdigest()


def note_keys(notes: Sequence[str]) -> list[bytes]:
    """Return a key of each note: the same for those that differ in spaces and case alone."""
    return keys_of(" ".join(note.casefold().split()).encode() for note in notes)


def without_leaks(data: NoteData, drop: bool) -> NoteData:
    """Report notes that stand in two splits; leave them out of the earlier one if asked to."""
    keys = {name: note_keys(part.notes) for name, part in data.parts.items()}
    found = [str(leak) for leak in leaks(keys)]
    if found and not drop:
        found = [f"{text}; --set drop_duplicates=true leaves them out" for text in found]
    if found and drop:
        found = [f"{text}: they were left out of the former" for text in found]
        kept = in_no_later_split(keys)
        data = replace(
            data,
            train=data.train.chosen(kept["train"]),
            validation=data.validation.chosen(kept["validation"]),
        )
    return replace(data, findings=(*data.findings, *found))
