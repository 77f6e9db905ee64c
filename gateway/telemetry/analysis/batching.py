"""What travelling together does to calls: how long the model takes for how many rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.telemetry.analysis.calls import Calls, Floats
from gateway.telemetry.analysis.stages import QUEUE, Stage

_MOST_SIZES = 24

LONGEST_WINDOW_MS = 3.0
"""``max_batch_wait_s`` as it is unless somebody sets it, and the longest that pays: who is later
than three usual distances of callers is not waited for, and none of these counts that is above
1 ms (``gateway/inference/pace.py``)."""
_LEEWAY = 1.1
"""A window may end a little late."""
_HARDLY_MS = 0.05
"""Who waited for less behind a batch found none."""


@dataclass(frozen=True)
class BatchSize:
    """Calls that went to Triton with so many rows; times are medians in ms."""

    rows: int
    """The largest number of rows of these calls; sizes next to each other may be together."""
    calls: int
    total_ms: float
    wait_ms: float
    compute_ms: float
    """Input, inference and output of all steps."""

    @property
    def compute_per_row_ms(self) -> float:
        """What a row costs."""
        return self.compute_ms / self.rows


@dataclass(frozen=True)
class BatchEffect:
    """How the number of rows and the time of the model hang together."""

    sizes: Sequence[BatchSize]
    mean_rows: float
    mean_calls: float
    """Calls that travel together, on average over the batches."""
    fixed_ms: float | None
    """What a batch costs however small it is, in ms; ``None`` if all have the same size."""
    per_row_ms: float | None
    """What a further row costs, in ms."""
    behind_share: float
    """Of the time in which calls waited to leave: what earlier batches of the release were at
    Triton, as far as they were traced."""
    window_share: float
    """Of the same time: what may have been the window, so with nothing under way, by calls that
    waited no longer like that than a window can be."""
    window_ms: float
    """The same of a call, in the mean, in ms."""
    free_share: float
    """Share of the calls that found nothing under way."""


def batch_effect(calls: Calls) -> BatchEffect | None:
    """Return the effect of the batch size; ``None`` if no call says its size."""
    known = calls.rows >= 1
    if not known.any():
        return None
    calls = calls.select(known)
    compute = compute_ms(calls)
    rows = calls.rows
    sizes = np.unique(rows)
    edges = sizes if len(sizes) <= _MOST_SIZES else np.unique(
        np.quantile(rows, np.linspace(0, 1, _MOST_SIZES), method="higher")
    )  # fmt: skip
    place = np.searchsorted(edges, rows)
    found = []
    for one, edge in enumerate(edges):
        these = place == one
        if these.any():
            found.append(
                BatchSize(
                    rows=int(edge),
                    calls=int(np.count_nonzero(these)),
                    total_ms=float(np.median(calls.total_ms[these])),
                    wait_ms=float(np.median(calls.column(QUEUE.key)[these])),
                    compute_ms=float(np.median(compute[these])),
                )
            )
    fixed, slope = _line(found)
    # A batch of n calls stands n times in the table: each counts for an n-th of it.
    batches = (1 / calls.mates).sum()
    waited = calls.column(QUEUE.key)
    whole = max(float(waited.sum()), 1e-12)
    behind = np.minimum(calls.behind_ms, waited)
    window = waited - behind
    window[window > _LEEWAY * LONGEST_WINDOW_MS] = 0
    return BatchEffect(
        sizes=found,
        mean_rows=float((rows / calls.mates).sum() / batches),
        mean_calls=len(calls) / batches,
        fixed_ms=fixed,
        per_row_ms=slope,
        behind_share=float(behind.sum() / whole),
        window_share=float(window.sum() / whole),
        window_ms=float(window.mean()),
        free_share=float((behind < _HARDLY_MS).mean()),
    )


def compute_ms(calls: Calls) -> Floats:
    """Return what the model itself takes of each call, in ms. ``(C,)``."""
    parts = [place for place, stage in enumerate(calls.stages) if _is_compute(stage)]
    total: Floats = calls.ms[:, parts].sum(axis=1)
    return total


def _is_compute(stage: Stage) -> bool:
    return bool(stage.step) and stage.key.rpartition(".")[2] in ("input", "infer", "output")


def _line(sizes: Sequence[BatchSize]) -> tuple[float | None, float | None]:
    """Return the straight line through the medians, by weight of the calls."""
    if len(sizes) < 2:
        return None, None
    weights = np.sqrt([one.calls for one in sizes])
    slope, fixed = np.polyfit([s.rows for s in sizes], [s.compute_ms for s in sizes], 1, w=weights)
    return float(fixed), float(slope)
