"""For whom, and for which items, it works: the measures again for parts of the test.

Means hide that a model may be good only for those with long histories, or for items that everybody
has. Users are parted by how much they had before, and by how popular what they had next is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_builder.evaluation.bootstrap import mean_interval
from model_builder.evaluation.metrics import ndcg_gains
from model_builder.recsys.beyond import popularity_places
from model_builder.recsys.data import Questions
from model_builder.recsys.evaluation import CUTS, Ranks
from triton_models.release import Metric

_PARTS = 4
"""Of about as many users each."""


@dataclass(frozen=True)
class Segment:
    """Some users of the test."""

    kind: str
    """``history`` or ``item``: what they are parted by."""
    name: str
    rows: int
    ndcg: Mapping[str, Metric]
    """NDCG@10 of each model, by its name."""


def segments(
    questions: Questions,
    counts: npt.NDArray[np.int64],
    ranks: Mapping[str, Ranks],
    seed: int,
) -> list[Segment]:
    """Return the parts of a split.

    Args:
        questions: The split, ``Q`` users.
        counts: ``(V + 1,)``, how often each item was had in the training data.
        ranks: Of each model.
        seed: Of the resampling.
    """
    lengths = np.array([len(items) for items in questions.histories], np.float64)
    places = np.append(0.0, popularity_places(counts))[questions.targets]
    gains = {name: ndcg_gains(each, CUTS[0]) for name, each in ranks.items()}
    parts = [
        *(("history", f"{low:g} to {high:g} items", rows) for low, high, rows in _parts(lengths)),
        *(
            ("item", f"more popular than {low:.0%} to {high:.0%} of all", rows)
            for low, high, rows in _parts(places)
        ),
    ]
    return [
        Segment(
            kind,
            name,
            int(rows.sum()),
            {model: mean_interval(each[rows], seed=seed) for model, each in gains.items()},
        )
        for kind, name, rows in parts
    ]


def _parts(
    values: npt.NDArray[np.float64],
) -> Iterator[tuple[float, float, npt.NDArray[np.bool_]]]:
    """Give the least and the greatest value of each part, and ``(Q,)`` bool: who is in it.

    Equal values stay together, so there may be fewer parts.
    """
    inner = np.quantile(values, np.arange(1, _PARTS) / _PARTS, method="higher")
    number = np.searchsorted(np.unique(inner), values, "right")
    for each in np.unique(number):
        rows = number == each
        yield float(values[rows].min()), float(values[rows].max()), rows
