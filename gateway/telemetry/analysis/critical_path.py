"""How much of a call each of its spans is to blame for.

The critical path is walked backwards from the end of the root: the child that ended last is
on it, then the one that ended last before that one began, and so on; what no child covers is the
span's own. So every moment of the root belongs to exactly one span, and the times of all spans
add up to the root's, also where steps overlap or run side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gateway.telemetry.analysis.forest import Forest, Ints


@dataclass(frozen=True)
class CriticalPath:
    """The part of each span that its root had to wait for.

    Attributes:
        unit: The root span that each span counts for; -1 for none. ``(N,)`` rows
        start: Where the part begins, in ns. ``(N,)``
        end: Where it ends; equal to ``start`` where the span is not on the path. ``(N,)``
        own: Of it what no child covers, in ns. ``(N,)``
    """

    unit: Ints
    start: Ints
    end: Ints
    own: Ints


def find_critical_path(forest: Forest, roots: Ints) -> CriticalPath:
    """Return what is on the critical path of each root.

    Args:
        forest: The trees.
        roots: Rows of spans that are measured, none below another. ``(R,)``
    """
    count = len(forest.parent)
    unit = np.full(count, -1, dtype=np.int64)
    unit[roots] = roots
    start, end = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    start[roots], end[roots] = forest.start[roots], forest.end[roots]
    left = end.copy()  # where the part that no later child covers ends
    covered = np.zeros(count, dtype=np.int64)
    for rows in forest.children_by_level():
        rows = rows[(unit[forest.parent[rows]] >= 0) & (unit[rows] < 0)]
        unit[rows] = unit[forest.parent[rows]]
        for turn in _turns(forest, rows):
            above = forest.parent[turn]
            ends = np.minimum(forest.end[turn], left[above])
            begins = np.maximum(forest.start[turn], start[above])
            on = begins < ends
            turn, above, begins, ends = turn[on], above[on], begins[on], ends[on]
            start[turn], end[turn], left[turn] = begins, ends, ends
            left[above] = begins
            covered[above] += ends - begins
    return CriticalPath(unit, start, end, end - start - covered)


def _turns(forest: Forest, rows: Ints) -> list[Ints]:
    """Return the children by turns: of every parent first the one that ends last, and so on."""
    if not len(rows):
        return []
    above = forest.parent[rows]
    order = np.lexsort((-forest.start[rows], -forest.end[rows], above))
    rows, above = rows[order], above[order]
    first = np.r_[True, above[1:] != above[:-1]]
    begin = np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))
    rank = np.arange(len(rows)) - begin
    order = np.argsort(rank, kind="stable")
    bounds = np.searchsorted(rank[order], np.arange(rank.max() + 2))
    return [rows[order[low:high]] for low, high in pairwise(bounds)]
