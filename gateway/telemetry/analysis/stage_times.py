"""How long every call was in every stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.telemetry.analysis.critical_path import CriticalPath, find_critical_path
from gateway.telemetry.analysis.forest import Forest, Ints
from gateway.telemetry.analysis.span_columns import CLIENT
from gateway.telemetry.analysis.span_labels import SpanLabels, label_spans
from gateway.telemetry.analysis.stages import Stage

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StageTimes:
    """The time of every call in every stage.

    Attributes:
        stages: In the order of the columns.
        ms: ``(C, S)`` float64, in ms; a row adds up to what the call took.
        batch: Row of the batch that the call travelled in, -1 without one. ``(C,)``
        path: What is on the critical paths of the calls.
        batch_path: What is on those of the batches.
        labels: The stage and the step of every span.
    """

    stages: Sequence[Stage]
    ms: Floats
    batch: Ints
    path: CriticalPath
    batch_path: CriticalPath
    labels: SpanLabels


def measure_stages(forest: Forest) -> StageTimes:
    """Return what every call spent in every stage."""
    labels = label_spans(forest)
    path = find_critical_path(forest, forest.root)
    own = _sum_up(forest, path, labels, forest.root)
    batches = np.unique(forest.batch_of[forest.batch_of >= 0])
    batch_path = find_critical_path(forest, batches)
    shared = _sum_up(forest, batch_path, labels, batches)
    batch = _share_batches(forest, path, labels, own, batches, shared)
    order = np.argsort([stage.place for stage in labels.stages], kind="stable")
    used = [one for one in order if own[:, one].any()]
    stages = [labels.stages[one] for one in used]
    return StageTimes(stages, own[:, used], batch, path, batch_path, labels)


def _sum_up(forest: Forest, path: CriticalPath, labels: SpanLabels, units: Ints) -> Floats:
    """Return the time in each stage below each of some spans, in ms. ``(U, S)``."""
    place = np.full(len(forest.parent), -1, dtype=np.int64)
    place[units] = np.arange(len(units))
    size = len(units), len(labels.stages)
    flat = np.zeros(size[0] * size[1])
    for rows, columns, ns in _parts(forest, path, labels):
        seen = path.unit[rows] >= 0
        cell = place[path.unit[rows[seen]]] * size[1] + columns[seen]
        flat += np.bincount(cell, weights=ns[seen] / 1e6, minlength=len(flat))
    return flat.reshape(size)


def _share_batches(
    forest: Forest,
    path: CriticalPath,
    labels: SpanLabels,
    own: Floats,
    batches: Ints,
    shared: Floats,
) -> Ints:
    """Give each call in a batch the stages of the batch, in place; return the batches' rows.

    The call waits in a span ``batch`` while the batch is at Triton: that is where its time goes.
    If the call waited for less (it was given up), it gets as much less of every stage. The call
    whose trace the batch lies in has it below its own span already.

    Args:
        forest: The trees.
        path: What is on the critical paths of the calls.
        labels: The stages.
        own: The time of the calls, in ms. ``(C, S)``
        batches: Rows of the batches. ``(B,)``
        shared: Their time, in ms. ``(B, S)``
    """
    call_of = np.full(len(forest.parent), -1, dtype=np.int64)
    call_of[forest.root] = np.arange(len(forest.root))
    batch = np.full(len(forest.call), -1, dtype=np.int64)
    is_batch = forest.spans["batch_calls"].is_not_nan().to_numpy() & (
        forest.column("kind") == CLIENT
    )
    inside = np.flatnonzero(is_batch & (path.unit >= 0))
    batch[call_of[path.unit[inside]]] = inside
    linked = np.flatnonzero((forest.batch_of >= 0) & (path.unit >= 0))
    target = forest.batch_of[linked]
    elsewhere = path.unit[linked] != path.unit[target]
    linked, target = linked[elsewhere], target[elsewhere]
    call = call_of[path.unit[linked]]
    waited = path.end[linked] - path.start[linked]
    took = np.maximum(forest.end[target] - forest.start[target], 1)
    times = shared[np.searchsorted(batches, target)]
    np.add.at(own, call, times * np.minimum(1.0, waited / took)[:, None])
    np.add.at(own, (call, labels.column[linked]), -np.minimum(waited, took) / 1e6)
    np.maximum(own, 0, out=own)
    batch[call] = target
    return batch


Part = tuple[Ints, Ints, Ints]
"""Rows of spans, columns of stages, ns."""


def _parts(forest: Forest, path: CriticalPath, labels: SpanLabels) -> Iterator[Part]:
    """Give the own time of all spans, that of Triton's steps cut at their events."""
    rest = path.own.copy()
    rows = np.flatnonzero((labels.step >= 0) & (path.end > path.start))
    first = labels.first[labels.step[rows]]
    for offset, (begin, end) in enumerate(step_bounds(forest, rows)):
        overlap = np.minimum(path.end[rows], end) - np.maximum(path.start[rows], begin)
        known = (begin > 0) & (end > 0)
        ns = np.where(known, np.clip(overlap, 0, rest[rows]), 0)
        rest[rows] -= ns
        yield rows, first + offset, ns
    yield np.arange(len(rest)), labels.column, rest


def step_bounds(forest: Forest, rows: Ints) -> list[tuple[Ints, Ints]]:
    """Return where queue, input, infer and output of steps begin and end, by the root's clock.

    Args:
        forest: The trees.
        rows: Spans of steps, a model's or its compute's. ``(R,)``

    Returns:
        Pairs of ``(R,)``, in ns; 0 where it is not known.
    """
    queued, started, loaded, computed, ended = (
        _moved(forest, name)
        for name in ("queue_start", "compute_start", "compute_input_end", "compute_output_start",
                     "compute_end")
    )  # fmt: skip
    until = started.copy()  # of the compute span, at its model's too
    child = np.flatnonzero((started > 0) & (forest.parent >= 0))
    above = forest.parent[child]
    takes = forest.is_set("model")[above] & (started[above] == 0)
    until[above[takes]] = started[child[takes]]
    said = np.nan_to_num(forest.column("queue_us").astype(np.float64))
    queued = np.where((queued == 0) & (said > 0), until - (1e3 * said).astype(np.int64), queued)
    bounds = ((queued, until), (started, loaded), (loaded, computed), (computed, ended))
    return [(begin[rows], end[rows]) for begin, end in bounds]


def _moved(forest: Forest, name: str) -> Ints:
    times = forest.column(name).astype(np.int64)
    return np.where(times > 0, times + forest.shift, 0)
