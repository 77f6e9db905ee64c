"""Finds evidence that stands in more than one split: what was learnt is no test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "validation", "test")
"""A later one keeps what an earlier one has too."""

Keys = Sequence[bytes]


@dataclass(frozen=True)
class Leak:
    """Rows of one split that stand in a later one, too."""

    split: str
    later: str
    rows: int

    def __str__(self) -> str:
        """Say it in one sentence."""
        return f"{self.rows} rows of the {self.split} split also stand in the {self.later} split"


def keys_of(contents: Iterable[bytes]) -> list[bytes]:
    """Return a short name of each content: the same for the same."""
    return [hashlib.blake2b(content, digest_size=16).digest() for content in contents]


def leaks(keys: Mapping[str, Keys]) -> list[Leak]:
    """Return what stands in two splits.

    Args:
        keys: By split, one for each row.
    """
    found = []
    for place, split in enumerate(SPLITS):
        for later in SPLITS[place + 1 :]:
            known = set(keys.get(later, ()))
            rows = sum(key in known for key in keys.get(split, ()))
            if rows:
                found.append(Leak(split, later, rows))
    return found


def in_no_later_split(keys: Mapping[str, Keys]) -> dict[str, npt.NDArray[np.bool_]]:
    """Return by split ``(rows,)``: whether a row stands in no later one."""
    kept = {}
    later: set[bytes] = set()
    for split in reversed(SPLITS):
        if split in keys:
            kept[split] = np.array([key not in later for key in keys[split]], np.bool_)
            later.update(keys[split])
    return kept
