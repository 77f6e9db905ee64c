"""What else was under way while a call waited: batches at Triton, calls in the gateway."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from gateway.telemetry.analysis.forest import Forest, Ints
from gateway.telemetry.analysis.span_columns import CLIENT
from gateway.telemetry.analysis.stage_times import StageTimes
from gateway.telemetry.analysis.stages import QUEUE

Floats = npt.NDArray[np.float64]


def beside(forest: Forest) -> Floats:
    """Return how many calls the gateway had when each came, with itself. ``(C,)``.

    What is not traced is not seen, so it is at least so many.
    """
    start, end = _own_times(forest, forest.call)
    came = np.searchsorted(np.sort(start), start, side="right")
    gone = np.searchsorted(np.sort(end), start, side="left")
    return (came - gone).astype(np.float64)


def behind_ms(forest: Forest, times: StageTimes) -> Floats:
    """Return how long calls waited to leave while their release was busy at Triton. ``(C,)``.

    A batch waits for a window only with nothing of its model under way: the rest of its wait is
    for the batches before it. Its own call to Triton begins when the wait is over, so whatever
    overlaps the wait is another's. Which of several workers a call was in is not among the columns:
    batches of the others count too, so with many the window is found to blame too seldom.
    """
    spans = forest.spans
    release = _releases(forest)
    call_of = np.full(len(spans), -1, dtype=np.int64)
    call_of[forest.call] = np.arange(len(forest.call))
    waits = np.flatnonzero((spans["name"] == QUEUE.key).to_numpy() & (forest.parent >= 0))
    waits = waits[call_of[forest.parent[waits]] >= 0]
    waiter = call_of[forest.parent[waits]]
    trips, owner = _trips(forest, times)
    behind = np.zeros(len(forest.call))
    for one in np.unique(release):
        these = release[waiter] == one
        busy = _Busy(*_own_times(forest, trips[release[owner] == one]))
        began, left = _own_times(forest, waits[these])
        np.add.at(behind, waiter[these], (busy.until(left) - busy.until(began)) / 1e6)
    return behind


def _releases(forest: Forest) -> Ints:
    """Return a number for the release of each call. ``(C,)``."""
    server = forest.spans[forest.call].select(
        pl.struct(pl.col("line", "release").fill_null("")).rank("dense").alias("number")
    )
    numbers: Ints = server["number"].to_numpy().astype(np.int64)
    return numbers


def _trips(forest: Forest, times: StageTimes) -> tuple[Ints, Ints]:
    """Return rows of calls to Triton, and for each a call that was on it."""
    batched = np.flatnonzero(times.batch >= 0)
    call_of = np.full(len(forest.spans), -1, dtype=np.int64)
    call_of[forest.root] = np.arange(len(forest.root))
    own = np.flatnonzero(
        forest.asks_triton() & (forest.column("kind") == CLIENT) & (times.path.unit >= 0)
    )
    owner = call_of[times.path.unit[own]]
    rows = np.r_[times.batch[batched], own[owner >= 0]]
    return rows, np.r_[batched, owner[owner >= 0]]


def _own_times(forest: Forest, rows: Ints) -> tuple[Ints, Ints]:
    """Return starts and ends by the gateway's own clock, which all its spans share."""
    return forest.column("start")[rows], forest.column("end")[rows]


class _Busy:
    """The time in which at least one of some spans was running."""

    def __init__(self, start: Ints, end: Ints) -> None:
        order = np.argsort(start, kind="stable")
        start, end = start[order], np.maximum.accumulate(end[order]) if len(end) else end
        first = np.r_[True, start[1:] > end[:-1]] if len(start) else np.zeros(0, dtype=bool)
        last = np.r_[first[1:], True] if len(start) else first
        self._start, self._end = start[first], end[last]
        self._before = np.r_[0, np.cumsum(self._end - self._start)]

    def until(self, moments: Ints) -> Ints:
        """Return how much of it lies before each moment, in ns."""
        if not len(self._start):
            return np.zeros(len(moments), dtype=np.int64)
        place = np.searchsorted(self._start, moments, side="right")
        at = np.maximum(place - 1, 0)
        part = np.clip(moments - self._start[at], 0, self._end[at] - self._start[at])
        found: Ints = np.where(place > 0, self._before[at] + part, 0)
        return found
