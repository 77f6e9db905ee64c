"""Where rows lay when a release was built, and how far others lie from it (PSI)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_models.release import Distribution, FeatureSpec

Values = npt.NDArray[Any]

_BINS = 10


def distributions(
    features: Sequence[FeatureSpec], values: Sequence[Values], scores: Values
) -> tuple[Distribution, ...]:
    """Return the distribution of each feature and of the score.

    Args:
        features: The schema.
        values: For each feature ``(rows,)``: float with NaN for missing, or ``str`` with ''.
        scores: ``(rows,)``, as the release gives them to rows that it has not learnt from.
    """
    made = [_reference(feature, some) for feature, some in zip(features, values, strict=True)]
    score = Distribution(name="score", kind="score", edges=_edges(scores), counts=())
    return (*made, counted(score, scores))


def _reference(feature: FeatureSpec, values: Values) -> Distribution:
    if feature.kind == "category":
        empty = Distribution(
            name=feature.name, kind="category", values=feature.categories, counts=()
        )
    else:
        codes = feature.codes or feature.specials
        plain = values[~np.isnan(values) & ~np.isin(values, codes)]
        empty = Distribution(
            name=feature.name,
            kind="number",
            edges=() if feature.codes else _edges(plain),
            values=tuple(f"{code:g}" for code in codes),
            counts=(),
        )
    return counted(empty, values)


def _edges(values: Values) -> tuple[float, ...]:
    if not len(values):
        return ()
    inner = np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1], method="nearest")
    return tuple(float(edge) for edge in np.unique(inner))


def counted(like: Distribution, values: Values) -> Distribution:
    """Return how ``values`` ``(rows,)`` lie in the bins of a distribution."""
    edges, named = len(like.edges), len(like.values)
    bins = (0 if like.kind == "category" else edges + 1) + named + 2
    other, missing = bins - 2, bins - 1
    if like.kind == "category":
        places = {word: place for place, word in enumerate(like.values)}
        found = [missing if word == "" else places.get(str(word), other) for word in values]
        return like.model_copy(update={"counts": _count(np.array(found, np.int64), bins)})
    absent = np.isnan(values)
    codes = [float(code) for code in like.values]
    place = np.searchsorted(like.edges, values, "right")
    for number, code in enumerate(codes):
        place = np.where(np.isclose(values, code), edges + 1 + number, place)
    place = np.where(absent, missing, place)
    return like.model_copy(update={"counts": _count(place, bins)})


def _count(places: npt.NDArray[np.int64], bins: int) -> tuple[int, ...]:
    return tuple(np.bincount(places, minlength=bins).tolist())
