"""Images in memory, with what they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.diagnosis.dataset import SplitData
from model_builder.diagnosis.duplicates import keys_of
from triton_models.release import ImageSpec

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """One split."""

    pixels: Pixels
    """``(rows, Y, X, C)`` uint8."""
    target: npt.NDArray[np.int64]
    """``(rows,)``."""
    groups: npt.NDArray[np.str_] | None = None
    """``(rows,)``, the subgroup of each."""

    def __len__(self) -> int:
        """Return the rows."""
        return len(self.target)

    def chosen(self, rows: npt.NDArray[Any]) -> Part:
        """Return some of the rows."""
        groups = None if self.groups is None else self.groups[rows]
        return Part(self.pixels[rows], self.target[rows], groups)

    def keys(self) -> list[bytes]:
        """Return a key of each image: the same for the same pixels."""
        return keys_of(row.tobytes() for row in self.pixels)


@dataclass(frozen=True, kw_only=True)
class ImageData(SplitData[Part]):
    """A data set."""

    spec: ImageSpec
