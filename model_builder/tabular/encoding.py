"""What each column of the network's input holds: the parameters of the preparation.

The network's input has these columns, in this order: every quantity scaled, and cut into pieces if
it is asked for; every code one-hot, every category one-hot, and for each feature that was ever
missing in training whether it is. A special code of a quantity is a code; beside it, the quantity
is at its minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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
    kind: Literal["scaled", "piece", "code", "category", "missing"]
    value: float | str = 0.0
    """The code or the category that sets it to 1."""
    center: float = 0.0
    scale: float = 1.0
    """A quantity becomes ``(quantity - center) / scale``; of a piece, cut to [0, 1]: how much of
    the piece it has passed. Source: piecewise linear encoding (Gorishniy et al. 2022)."""

    def of_quantity(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the column of a quantity ``(B,)`` in raw units; none missing."""
        shares = (values.astype(np.float64) - self.center) / self.scale
        if self.kind == "piece":
            return np.clip(shares, 0, 1)
        return np.asarray(shares / np.sqrt(1 + (shares / SOFT_LIMIT) ** 2))


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
        return np.array([self._typical(slot) for slot in self.slots], np.float32)

    def _typical(self, slot: Slot) -> float:
        feature = self.features[slot.feature]
        if slot.kind in _ONE_HOT:
            return float(slot.value == feature.typical)
        if slot.kind in _OF_QUANTITIES:
            assert isinstance(feature.typical, float)
            given = feature.minimum if feature.typical in feature.specials else feature.typical
            return float(slot.of_quantity(np.array([given], np.float32))[0])
        return 0.0

    @property
    def signs(self) -> npt.NDArray[np.int8]:
        """``(D,)``: 1 where the schema lets a column only raise the risk, -1 only lower it."""
        directions = {"increasing": 1, "decreasing": -1}
        return np.array(
            [
                directions.get(self.features[slot.feature].monotonic or "", 0)
                if slot.kind in _OF_QUANTITIES
                else 0
                for slot in self.slots
            ],
            np.int8,
        )


_ONE_HOT = ("code", "category")
_OF_QUANTITIES = ("scaled", "piece")


def fit_encoding(
    features: Sequence[FeatureSpec],
    numbers: npt.NDArray[np.float32],
    categories: npt.NDArray[np.object_],
    pieces: int = 0,
) -> Encoding:
    """Return the encoding for a schema and the rows that it was inferred from.

    Args:
        features: The schema, F features.
        numbers: ``(rows, N)`` float32, raw units, NaN is missing.
        categories: ``(rows, S)`` of ``str``, '' is missing.
        pieces: How many each quantity is cut into at most, equally full.
    """
    scaled, cut, codes, words, missing = [], [], [], [], []
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
                codes += [Slot(f, "code", code) for code in feature.specials]
                plain = _plain(feature, values)
                scaled.append(_scaled(f, feature, plain))
                cut += _pieces(f, plain, pieces)
            n += 1
        if absent:
            missing.append(Slot(f, "missing"))
    return Encoding(tuple(features), (*scaled, *cut, *codes, *words, *missing))


def _plain(feature: FeatureSpec, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what lies on the scale of a quantity and in its range."""
    assert feature.minimum is not None
    assert feature.maximum is not None
    known = values[~np.isnan(values) & ~np.isin(values, feature.specials)]
    return np.clip(known, feature.minimum, feature.maximum)


def _scaled(f: int, feature: FeatureSpec, plain: npt.NDArray[np.float64]) -> Slot:
    assert isinstance(feature.typical, float)
    center = feature.typical
    if center in feature.specials:
        center = float(np.median(plain)) if len(plain) else 0.0
    # As a float32, so that the typical value becomes 0.
    return Slot(f, "scaled", center=float(np.float32(center)), scale=_spread(plain))


def _pieces(f: int, plain: npt.NDArray[np.float64], pieces: int) -> list[Slot]:
    if not pieces or not len(plain):
        return []
    ends = np.quantile(plain, np.linspace(0, 1, pieces + 1), method="nearest")
    ends = np.unique(ends.astype(np.float32)).astype(np.float64)
    if len(ends) < 3:  # one piece says no more than the scaled quantity
        return []
    return [
        Slot(f, "piece", center=float(low), scale=float(high - low)) for low, high in pairwise(ends)
    ]


def _spread(values: npt.NDArray[np.float64]) -> float:
    """Return the standard width of the middle half, or of the whole if that has none."""
    if not len(values):
        return 1.0
    low, high = np.percentile(values, [25, 75])
    if high > low:
        return float((high - low) / 1.349)  # of a normal distribution: its standard deviation
    whole = float(values.max() - values.min())
    return whole / 2 if whole > 0 else 1.0
