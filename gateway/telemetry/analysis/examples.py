"""A typical call and a slow one, span by span, to be drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gateway.telemetry.analysis.calls import Calls
from gateway.telemetry.analysis.forest import Forest, Ints

_MOST_SPANS = 60


@dataclass(frozen=True)
class ExampleSpan:
    """One line of a waterfall; times in ms since the call began."""

    name: str
    service: str
    depth: int
    begin_ms: float
    end_ms: float
    queued_ms: float
    """Of a step: how much of it is the queue at its beginning."""


@dataclass(frozen=True)
class Example:
    """One call."""

    what: str
    """``typical`` or ``slow``."""
    trace_id: str
    ms: float
    spans: list[ExampleSpan]


def find_examples(forest: Forest, calls: Calls) -> list[Example]:
    """Return the median call, and the one at the 99th percentile if it is another."""
    calls = calls.select(calls.ok)
    order = np.argsort(calls.total_ms, kind="stable")
    middle, high = order[len(order) // 2], order[min(len(order) - 1, int(0.99 * len(order)))]
    chosen = [("typical", middle)] + ([("slow", high)] if high != middle else [])
    children = _Children(forest)
    return [
        Example(what, str(calls.trace[row]), float(calls.total_ms[row]),
                list(_spans(forest, children, int(calls.span[row]))))
        for what, row in chosen
    ]  # fmt: skip


class _Children:
    """Finds the children of a span."""

    def __init__(self, forest: Forest) -> None:
        self._order = np.argsort(forest.parent, kind="stable")
        self._parent = forest.parent[self._order]

    def of(self, row: int) -> Ints:
        """Return the rows of the children."""
        low, high = np.searchsorted(self._parent, [row, row + 1])
        return self._order[low:high]


def _spans(forest: Forest, children: _Children, root: int) -> Iterator[ExampleSpan]:
    begin = forest.start[root]
    names, services = forest.spans["name"], forest.spans["service"]
    models = forest.spans["model"]
    queue, compute = forest.column("queue_start"), forest.column("compute_start")
    left = [(root, 0)]
    seen: set[int] = set()
    while left and len(seen) < _MOST_SPANS:
        row, depth = left.pop()
        if row in seen:
            continue
        seen.add(row)
        below = children.of(row)
        batch = forest.batch_of[row]
        if batch >= 0:
            below = np.r_[below, batch]
        started = compute[below][compute[below] > 0]
        queued = (started.min() - queue[row]) / 1e6 if queue[row] and len(started) else 0.0
        yield ExampleSpan(
            name=_short(str(models[row] or names[row])),
            service=str(services[row]),
            depth=depth,
            begin_ms=float(forest.start[row] - begin) / 1e6,
            end_ms=float(forest.end[row] - begin) / 1e6,
            queued_ms=float(max(queued, 0.0)),
        )
        left.extend((int(one), depth + 1) for one in below[np.argsort(-forest.start[below])])


def _short(name: str) -> str:
    if "/" in name:
        package, _, method = name.rpartition("/")
        service = package.rpartition(".")[2]
        return method if service == "GRPCInferenceService" else f"{service}/{method}"
    return name.rpartition("__")[2] if name.count("__") > 1 else name
