"""What each column of the network's input holds: the parameters of the preparation.

The network's input has these columns, in this order: every quantity scaled, every code one-hot,
every category one-hot, and for each feature that was ever missing in training whether it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from triton_models.release import FeatureSpec

SOFT_LIMIT = 3.0
"""Scaled quantities are bent smoothly into (-3, 3): one outlier must not drown the rest.
Source: RealMLP (Holzmüller et al. 2024)."""


@dataclass(frozen=True)
class Slot:
    """One column of the network's input."""

    feature: int
    """Index in the schema."""
    kind: Literal["scaled", "code", "category", "missing"]
    value: float | str = 0.0
    """The code or the category that sets it to 1."""
    center: float = 0.0
    scale: float = 1.0
    """A quantity becomes ``(quantity - center) / scale``."""


@dataclass(frozen=True)
class Encoding:
    """A schema and the columns that its values become."""

    features: tuple[FeatureSpec, ...]
    slots: tuple[Slot, ...]

    @property
    def owners(self) -> npt.NDArray[np.bool_]:
        """``(F, D)``: whether a column of the network's input belongs to a feature."""
        owners = np.zeros((len(self.features), len(self.slots)), np.bool_)
        for d, slot in enumerate(self.slots):
            owners[slot.feature, d] = True
        return owners

    @property
    def typical(self) -> npt.NDArray[np.float32]:
        """``(D,)`` float32: the network's input when every feature has its typical value."""
        return np.array(
            [
                float(slot.value == self.features[slot.feature].typical)
                if slot.kind in _ONE_HOT
                else 0.0
                for slot in self.slots
            ],
            np.float32,
        )


_ONE_HOT = ("code", "category")


def fit_encoding(
    features: Sequence[FeatureSpec],
    numbers: npt.NDArray[np.float32],
    categories: npt.NDArray[np.object_],
) -> Encoding:
    """Return the encoding for a schema and the rows that it was inferred from.

    Args:
        features: The schema, F features.
        numbers: ``(rows, N)`` float32, raw units, NaN is missing.
        categories: ``(rows, S)`` of ``str``, '' is missing.
    """
    scaled, codes, words, missing = [], [], [], []
    n = s = 0
    for f, feature in enumerate(features):
        if feature.kind == "category":
            words += [Slot(f, "category", category) for category in feature.categories]
            absent = bool((categories[:, s] == "").any())
            s += 1
        else:
            values = numbers[:, n].astype(np.float64)
            absent = bool(np.isnan(values).any())
            if feature.codes:
                codes += [Slot(f, "code", code) for code in feature.codes]
            else:
                assert isinstance(feature.typical, float)
                scale = _spread(values[~np.isnan(values)])
                center = float(np.float32(feature.typical))  # so that the typical value becomes 0
                scaled.append(Slot(f, "scaled", center=center, scale=scale))
            n += 1
        if absent:
            missing.append(Slot(f, "missing"))
    return Encoding(tuple(features), (*scaled, *codes, *words, *missing))


def _spread(values: npt.NDArray[np.float64]) -> float:
    """Return the standard width of the middle half, or of the whole if that has none."""
    if not len(values):
        return 1.0
    low, high = np.percentile(values, [25, 75])
    if high > low:
        return float((high - low) / 1.349)  # of a normal distribution: its standard deviation
    whole = float(values.max() - values.min())
    return whole / 2 if whole > 0 else 1.0
