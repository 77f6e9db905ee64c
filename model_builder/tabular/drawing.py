"""Draws rows for a split: by class, by groups that stay whole, or by time.

Each way answers the same two questions: which rows shall judge once (``part``), and which parts
of the rows shall judge in turn (``folds``). All of it is decided by the data and the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from model_builder.errors import ConfigInvalid

Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.float64]
"""``(rows,)``: the number of each row's group, or its time."""
How = Literal["stratified", "grouped", "time"]


class Draw(Protocol):
    """A way to draw. ``rows`` are places in the table, and so is what comes back."""

    def part(self, rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
        """Return the rows that stay, and a part of about ``share`` of them."""
        ...

    def folds(self, rows: Rows, folds: int, seed: int) -> Iterator[Rows]:
        """Give each of the parts that together are ``rows``."""
        ...


def drawer(how: How, target: Rows, keys: Keys | None) -> Draw:
    """Return the way to draw.

    Args:
        how: Its name.
        target: ``(rows,)`` int64, the class.
        keys: Of the groups or the times; ``None`` to draw by class.
    """
    if how == "stratified":
        return ByClass(target)
    assert keys is not None, f"split '{how}' goes by a column"
    return ByGroup(target, keys) if how == "grouped" else ByTime(keys)


class ByClass:
    """Every part has the classes in the same shares."""

    def __init__(self, target: Rows) -> None:
        self._target = target

    def part(self, rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
        """Draw rows by chance within each class."""
        rest, part = train_test_split(
            rows, test_size=share, stratify=self._target[rows], random_state=seed
        )
        return np.sort(rest), np.sort(part)

    def folds(self, rows: Rows, folds: int, seed: int) -> Iterator[Rows]:
        """Deal each class out to the folds."""
        parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
        for _, judged in parts.split(rows, self._target[rows]):
            yield rows[judged]


class ByGroup:
    """A group is never torn; within that, the classes are as even as can be."""

    def __init__(self, target: Rows, groups: Keys) -> None:
        self._target = target
        self._groups = groups

    def part(self, rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
        """Take one of as many parts of whole groups as ``share`` goes into 1."""
        part = next(self.folds(rows, max(2, round(1 / share)), seed))
        return np.setdiff1d(rows, part), part

    def folds(self, rows: Rows, folds: int, seed: int) -> Iterator[Rows]:
        """Deal whole groups out to the folds."""
        groups = self._groups[rows]
        count = len(np.unique(groups))
        if count < folds:
            raise ConfigInvalid([f"split: {folds} parts need as many groups, found {count}"])
        parts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for _, judged in parts.split(rows, self._target[rows], groups):
            yield rows[judged]


class ByTime:
    """What judges is newer than all that is learnt from. Nothing is drawn by chance."""

    def __init__(self, times: Keys) -> None:
        self._times = times

    def part(self, rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
        """Take the newest rows; those of the same time stay together."""
        times = self._times[rows]
        cut = np.sort(times)[-max(1, round(share * len(rows)))]
        newer = times >= cut
        if newer.all():
            raise ConfigInvalid(
                [f"split: the newest {share:.0%} of the rows have the same time as all others"]
            )
        return rows[~newer], rows[newer]

    def folds(self, rows: Rows, folds: int, seed: int) -> Iterator[Rows]:
        """Refuse: a fold in the middle would be judged by what learnt from later rows."""
        raise AssertionError("a time split is never cross-validated")
