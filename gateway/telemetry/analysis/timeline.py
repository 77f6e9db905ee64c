"""How the latency went over time: a heat map, and its percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.telemetry.analysis.calls import Calls

_COLUMNS, _ROWS = 60, 22
_LEAST_CALLS = 20


@dataclass(frozen=True)
class Timeline:
    """Calls by when they began and how long they took.

    Attributes:
        begin_ns: Where the first column begins, in ns since 1970.
        column_s: How long a column is, in seconds.
        edges_ms: Edges of the rows, in ms, on a logarithmic scale. ``(R + 1,)``
        counts: Calls. ``(R, T)``
        p50_ms: Of each column; NaN where there is no call. ``(T,)``
        p99_ms: As ``p50_ms``.
    """

    begin_ns: int
    column_s: float
    edges_ms: Sequence[float]
    counts: Sequence[Sequence[int]]
    p50_ms: Sequence[float]
    p99_ms: Sequence[float]


def timeline(calls: Calls) -> Timeline | None:
    """Return the timeline; ``None`` of too few calls to see one."""
    if len(calls) < _LEAST_CALLS:
        return None
    begin = int(calls.start_ns.min())
    seconds = (calls.start_ns - begin) / 1e9
    columns = max(1, min(_COLUMNS, len(calls) // 5))
    width = max(float(seconds.max()) / columns, 1e-6)
    place = np.minimum((seconds / width).astype(np.int64), columns - 1)
    total = np.maximum(calls.total_ms, 1e-3)
    low, high = math.log10(total.min()), math.log10(total.max())
    edges = np.logspace(low, max(high, low + 0.1), _ROWS + 1)
    row = np.clip(np.searchsorted(edges, total, side="right") - 1, 0, _ROWS - 1)
    counts = np.zeros((_ROWS, columns), dtype=np.int64)
    np.add.at(counts, (row, place), 1)
    per_column = [total[place == one] for one in range(columns)]
    p50, p99 = (
        [float(np.percentile(some, percent)) if len(some) else math.nan for some in per_column]
        for percent in (50, 99)
    )
    return Timeline(begin, width, edges.tolist(), counts.tolist(), p50, p99)
