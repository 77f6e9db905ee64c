"""A table that has been checked: typed columns and a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_builder.tabular.columns import Column

Floats = npt.NDArray[np.float32]
Texts = npt.NDArray[np.object_]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """Features in order, and what is to be predicted."""

    columns: tuple[Column, ...]
    values: Mapping[str, npt.NDArray[np.generic]]
    """By column name, ``(rows,)``: float64 with NaN for missing, or ``str`` objects with ''."""
    target: Classes
    """``(rows,)`` int64, an index of ``labels``."""
    labels: tuple[str, ...]
    split_keys: npt.NDArray[np.float64] | None = None
    """``(rows,)`` float64: the number of each row's group, or its time; ``None`` for a table
    that is split by class."""
    label: str = ""
    """The name of the column to predict."""
    findings: tuple[str, ...] = ()
    """What a person should know of the data, in words."""

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.target)

    @property
    def numbers(self) -> Floats:
        """The tensor ``numbers``: ``(rows, N)`` float32, raw units, NaN is missing."""
        return self._stack([c for c in self.columns if c.kind != "category"], np.float32)

    @property
    def categories(self) -> Texts:
        """The tensor ``categories``: ``(rows, S)`` of ``str``, '' is missing."""
        return self._stack([c for c in self.columns if c.kind == "category"], np.object_)

    def values_of(self, rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.generic]]:
        """Return the values ``(len(rows),)`` of each column, in order."""
        return [self.values[column.name][rows] for column in self.columns]

    def _stack(self, columns: list[Column], dtype: type[np.generic]) -> npt.NDArray[np.generic]:
        stacked = np.empty((len(self), len(columns)), dtype)
        for i, column in enumerate(columns):
            stacked[:, i] = self.values[column.name]
        return stacked
