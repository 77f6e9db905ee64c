"""Spans as trees, in arrays: parents, depths, batches, and clocks that do not agree.

Everything here is arrays over the spans (``(N,)``, one row a span, in the order of the table):
a million spans are too many for objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gateway.telemetry.analysis.loading import SpanTable
from gateway.telemetry.analysis.span_columns import CLIENT, SERVER

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TRITON_METHOD = "inference.GRPCInferenceService/ModelInfer"
_DEEPEST = 64
"""Levels of a tree; deeper is a circle of parents, which only a faulty writer makes."""
_MOST = 0.9
"""Of a service's spans, when what they say of its clock is compared."""


@dataclass(frozen=True)
class Forest:
    """The trees of all spans.

    Attributes:
        spans: The table, see ``span_columns.SCHEMA``.
        parent: Row of the parent, -1 for a root. ``(N,)``
        level: Depth in its tree, 0 for a root. ``(N,)``
        start: In ns since 1970, by the clock of the tree's root. ``(N,)``
        end: As ``start``. ``(N,)``
        shift: What was added to the span's own clock, in ns. ``(N,)``
        call: Server spans of our RPCs, the calls. ``(C,)`` rows
        root: For each call the span that it is measured by: the client's, if it is there.
            ``(C,)`` rows
        batch_of: Row of the batch that a span is linked with, -1 without one. ``(N,)``
        orphans: Spans whose parent is not there.
        circles: Spans that were left out because they are their own ancestors.
    """

    spans: pl.DataFrame
    parent: Ints
    level: Ints
    start: Ints
    end: Ints
    shift: Ints
    call: Ints
    root: Ints
    batch_of: Ints
    orphans: int
    circles: int

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column of numbers."""
        return self.spans[name].to_numpy()

    def is_set(self, name: str) -> Bools:
        """Return where a column of texts has one."""
        return self.spans[name].is_not_null().to_numpy()

    def asks_triton(self) -> Bools:
        """Return which spans are requests to Triton, of client or server. ``(N,)``."""
        asks: Bools = (self.spans["method"] == TRITON_METHOD).fill_null(False).to_numpy()
        return asks

    def children_by_level(self) -> Iterator[Ints]:
        """Give the rows of each level below the roots, from the top down."""
        order = np.argsort(self.level, kind="stable")
        bounds = np.searchsorted(self.level[order], np.arange(self.level.max(initial=0) + 2))
        for first, last in pairwise(bounds[1:]):
            yield order[first:last]


def build_forest(table: SpanTable) -> Forest:
    """Return the trees."""
    spans = table.spans
    parent = _rows(spans, spans["trace"], spans["parent"])
    named = spans["parent"].to_numpy() != 0
    level, circles = _levels(parent)
    parent[circles] = -1
    call = np.flatnonzero(_is_call(spans))
    start, end, shift = _on_one_clock(spans, parent, level)
    return Forest(
        spans=spans,
        parent=parent,
        level=level,
        start=start,
        end=end,
        shift=shift,
        call=call,
        root=_measured_by(spans, parent, call),
        batch_of=_batches(table, spans, parent),
        orphans=int(np.count_nonzero(named & (parent < 0))),
        circles=int(np.count_nonzero(circles)),
    )


def _rows(spans: pl.DataFrame, trace: pl.Series, span: pl.Series) -> Ints:
    """Return the rows of spans, given by their IDs; -1 for those that are not there."""
    index = spans.select("trace", "span", pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))
    wanted = pl.DataFrame({"trace": trace, "span": span})
    joined = wanted.join(index, on=["trace", "span"], how="left", maintain_order="left")
    return joined["row"].fill_null(-1).to_numpy().astype(np.int64)


def _levels(parent: Ints) -> tuple[Ints, Bools]:
    """Return each span's depth, and which are in or below a circle."""
    level = np.zeros(len(parent), dtype=np.int64)
    above = parent.copy()
    for _ in range(_DEEPEST):
        inside = above >= 0
        if not inside.any():
            break
        level[inside] += 1
        above[inside] = parent[above[inside]]
    circles = above >= 0
    level[circles] = 0
    return level, circles


def _is_call(spans: pl.DataFrame) -> Bools:
    """Return which spans are calls that were served: not Triton's, nor another program's."""
    ours = pl.col("method").str.starts_with("trident.") | pl.col("line").is_not_null()
    is_call = (pl.col("kind") == SERVER) & (pl.col("method") != TRITON_METHOD) & ours
    return spans.select(is_call.fill_null(False)).to_series().to_numpy()


def _measured_by(spans: pl.DataFrame, parent: Ints, call: Ints) -> Ints:
    """Return the client's span of each call, if it made no other call (it may have tried twice)."""
    kind = spans["kind"].to_numpy()
    above = parent[call]
    count = np.bincount(above[above >= 0], minlength=len(kind))
    known = (above >= 0) & (kind[above] == CLIENT) & (count[above] == 1)
    return np.where(known, above, call)


def _batches(table: SpanTable, spans: pl.DataFrame, parent: Ints) -> Ints:
    """Return the batch that each span is linked with.

    Links go both ways, and either may be lost. That of the batch names the calls: where their
    span ``batch`` has no link of its own, it gets that.
    """
    links = table.links
    batch_of = np.full(len(spans), -1, dtype=np.int64)
    if links.is_empty():
        return batch_of
    one = _rows(spans, links["trace"], links["span"])
    other = _rows(spans, links["to_trace"], links["to_span"])
    is_batch = (spans["kind"] == CLIENT).to_numpy() & (
        spans["batch_calls"].is_not_nan() | (spans["method"] == TRITON_METHOD).fill_null(False)
    ).to_numpy()
    known = (one >= 0) & (other >= 0)
    one, other = one[known], other[known]
    own = is_batch[other] & ~is_batch[one]
    batch_of[one[own]] = other[own]
    waits = np.flatnonzero((spans["name"] == "batch").to_numpy() & (parent >= 0))
    wait_of = np.arange(len(spans))
    wait_of[parent[waits]] = waits
    named = is_batch[one] & ~is_batch[other]
    target = wait_of[other[named]]
    batch_of[target] = np.where(batch_of[target] < 0, one[named], batch_of[target])
    return batch_of


def _on_one_clock(spans: pl.DataFrame, parent: Ints, level: Ints) -> tuple[Ints, Ints, Ints]:
    """Return starts and ends by the clock of each tree's root, and what was added.

    A span of another process that begins before its parent was timed by a clock that does not
    agree; so was one that ends after it, if its service's clock is ahead (a server may also note
    the end of a call a little later than its client has the answer). It is moved into the middle of
    its parent, as long to get there as to get back, and all of its process below it with it.
    """
    start, end = spans["start"].to_numpy().copy(), spans["end"].to_numpy().copy()
    service = spans["service"].rank("dense").to_numpy().astype(np.int64)
    behind = _clocks_behind(start, end, service, parent)
    shift = np.zeros(len(spans), dtype=np.int64)
    order = np.argsort(level, kind="stable")
    bounds = np.searchsorted(level[order], np.arange(level.max(initial=0) + 2))
    for first, last in pairwise(bounds[1:]):
        rows = order[first:last]
        above = parent[rows]
        inherited = shift[above]
        begins, ends = start[rows] + inherited, end[rows] + inherited
        late = (ends > end[above]) & behind[service[rows]]
        outside = ((begins < start[above]) | late) & (service[rows] != service[above])
        room = (end[above] - start[above]) - (ends - begins)
        middle = start[above] + np.maximum(room, 0) // 2
        moved = np.where(outside, middle - start[rows], inherited)
        shift[rows] = moved
        start[rows] += moved
        end[rows] += moved
    return start, end, shift


def _clocks_behind(start: Ints, end: Ints, service: Ints, parent: Ints) -> Bools:
    """Return for each service whether most of its spans end late by a clock that is ahead.

    That clock lies between how late they end and how late they begin, the ways there and back
    beside it: so of all spans hardly any ends later than another begins. Where some do, the
    server has noted ends late, as it does on a busy machine, and there is nothing to set right.
    """
    rows = np.flatnonzero(parent >= 0)
    rows = rows[service[rows] != service[parent[rows]]]
    behind = np.zeros(int(service.max(initial=0)) + 1, dtype=bool)
    ends_late, begins_late = end[rows] - end[parent[rows]], start[rows] - start[parent[rows]]
    for one in np.unique(service[rows]):
        own = service[rows] == one
        behind[one] = np.count_nonzero(ends_late[own] > 0) > np.count_nonzero(own) / 2 and (
            np.quantile(ends_late[own], _MOST) <= np.quantile(begins_late[own], 1 - _MOST)
        )
    return behind
