"""Spans laid out on tracks, as timeline viewers show them.

A viewer draws what is on one track as a stack: two spans may be on one track only if one lies
within the other. A track is a lane of a service: each root takes the first lane that is free,
and what is below it goes along as long as it fits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.telemetry.analysis.forest import Forest
from gateway.telemetry.analysis.writing import some_of


@dataclass(frozen=True)
class Slice:
    """A span on a track; times in ns since 1970.

    Attributes:
        row: Of the span in the table.
        lane: Of its service, from 0.
        batch: Row of the batch that it is linked with, -1 without one.
    """

    row: int
    service: str
    lane: int
    name: str
    begin_ns: int
    end_ns: int
    trace_id: str
    span_id: str
    batch: int
    failed: bool


class NoSuchTrace(Exception):
    """The traces do not have those that were asked for, or have several of a name."""


def complete_ids(forest: Forest, prefixes: Sequence[str]) -> tuple[str, ...]:
    """Return the traces whose IDs start so, one each.

    All 32 digits are taken as they are: Jaeger may know only the last 16 of them.

    Raises:
        NoSuchTrace: With every prefix that none starts with, or several do.
    """
    pairs = forest.spans.select("trace_high", "trace").unique()
    known = sorted(f"{high:016x}{low:016x}" for high, low in pairs.iter_rows())
    whole: list[str] = []
    faults: list[str] = []
    for prefix in map(str.lower, prefixes):
        # Behind every digit comes "g".
        found = known[bisect_left(known, prefix) : bisect_left(known, prefix + "g")]
        if len(found) == 1 or len(prefix) == 32:
            whole.append(found[0] if found else prefix)
        elif found:
            faults.append(f"{len(found)} traces start with '{prefix}': {some_of(found)}")
        else:
            faults.append(f"no trace starts with '{prefix}'")
    if faults:
        raise NoSuchTrace("; ".join(faults))
    return tuple(whole)


def slices(forest: Forest, traces: Sequence[str] = ()) -> Iterator[Slice]:
    """Give every span with its track, by when it begins.

    Args:
        forest: The trees.
        traces: Only these, with the batches that their calls travelled in; by default all.
    """
    spans = forest.spans
    wanted = _wanted(forest, traces)
    order = np.lexsort((-forest.end, forest.start))
    order = order[wanted[order]]
    service = spans["service"].to_list()
    name, model, step = (spans[column].to_list() for column in ("name", "model", "step"))
    high, low, own = (spans[column].to_list() for column in ("trace_high", "trace", "span"))
    failed = spans["failed"].to_list()
    lanes: dict[str, list[list[tuple[int, int]]]] = {}
    for row in order.tolist():
        begin, end = int(forest.start[row]), int(forest.end[row])
        yield Slice(
            row=row,
            service=service[row],
            lane=_place(lanes.setdefault(service[row], []), begin, end, row, forest),
            name=step[row] or _model(model[row]) or name[row],
            begin_ns=begin,
            end_ns=end,
            trace_id=f"{high[row]:016x}{low[row]:016x}",
            span_id=f"{own[row]:016x}",
            batch=int(forest.batch_of[row]),
            failed=failed[row],
        )


def _model(name: str | None) -> str:
    return name.rpartition("__")[2] if name and name.count("__") > 1 else name or ""


def _wanted(forest: Forest, traces: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if not traces:
        return np.ones(len(forest.spans), dtype=bool)
    low = np.array([int(one, 16) & (2**64 - 1) for one in traces], dtype=np.uint64)
    wanted: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.isin(
        forest.spans["trace"].to_numpy(), low
    )
    batches = forest.batch_of[wanted]
    wanted[batches[batches >= 0]] = True
    for rows in forest.children_by_level():
        wanted[rows] |= wanted[forest.parent[rows]]
    return wanted


def _place(
    lanes: list[list[tuple[int, int]]], begin: int, end: int, row: int, forest: Forest
) -> int:
    """Return the first lane where a span fits: after everything on it, or within its parent."""
    for number, open_spans in enumerate(lanes):
        while open_spans and open_spans[-1][0] <= begin:
            open_spans.pop()
        if not open_spans or _is_below(row, open_spans[-1][1], forest, end, open_spans[-1][0]):
            open_spans.append((end, row))
            return number
    lanes.append([(end, row)])
    return len(lanes) - 1


def _is_below(row: int, other: int, forest: Forest, end: int, other_end: int) -> bool:
    """Return whether a span lies below another and ends no later."""
    if end > other_end:
        return False
    while row >= 0:
        if row == other:
            return True
        row = int(forest.parent[row])
    return False
