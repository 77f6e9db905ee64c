"""Rows in ten equally full parts by their risk: what was promised, and what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_builder.risk.fairness import share
from triton_models.release import Metric

Floats = npt.NDArray[np.floating[Any]]

PARTS = 10


@dataclass(frozen=True)
class Decile:
    """A tenth of the rows, the riskiest first."""

    rows: int
    promised: float
    """Mean probability of default."""
    happened: Metric
    """Share of defaults."""
    lift: Metric
    """That share over the share of all rows."""
    captured: float
    """Share of all defaults in this part and those before it."""


def deciles(target: npt.NDArray[np.int64], probabilities: Floats) -> tuple[Decile, ...]:
    """Return ten parts, or as many as there are rows.

    Args:
        target: ``(rows,)``, 1 for default; at least one.
        probabilities: ``(rows,)`` of default.
    """
    order = np.argsort(-probabilities, kind="stable")
    overall = float(target.mean())
    seen = 0
    made = []
    for part in np.array_split(order, min(PARTS, len(order))):
        hit = target[part] == 1
        seen += int(hit.sum())
        happened = share(hit)
        lifts = {end: getattr(happened, end) / overall for end in ("value", "low", "high")}
        made.append(
            Decile(
                rows=len(part),
                promised=float(probabilities[part].mean()),
                happened=happened,
                lift=Metric(**lifts),
                captured=seen / float(target.sum()),
            )
        )
    return tuple(made)
