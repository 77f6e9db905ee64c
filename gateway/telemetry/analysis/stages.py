"""The stages of a call: what each span's time is called, in the order in which they happen.

Every stage has a kind, which says what could be done about it: *service* is work, *queue* is
waiting for others' work, *transport* is on the way, *overhead* is what is between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from gateway.telemetry.analysis.critical_path import CriticalPath, find_critical_path
from gateway.telemetry.analysis.forest import TRITON_METHOD, Forest, Ints
from gateway.telemetry.analysis.span_columns import CLIENT, SERVER

Floats = npt.NDArray[np.float64]

_MOST_OTHER = 40
"""Names of spans that are not ours which become stages; the rest is one."""


class Kind(StrEnum):
    """What a stage is."""

    SERVICE = "service"
    QUEUE = "queue"
    TRANSPORT = "transport"
    OVERHEAD = "overhead"


@dataclass(frozen=True, order=True)
class Stage:
    """One stage.

    Attributes:
        place: Where it stands in a table.
        key: Its name for programs: ``decode``, ``step.encode.queue``.
        label: Its name for people.
        kind: What it is.
    """

    place: int
    key: str
    label: str
    kind: Kind

    @property
    def step(self) -> str:
        """The step of the model that it belongs to, or ''."""
        return self.key.split(".")[1] if self.key.startswith("step.") else ""


CLIENT_NETWORK = Stage(0, "client", "client ↔ gateway", Kind.TRANSPORT)
GATEWAY = Stage(10, "gateway", "gateway, not in a stage", Kind.OVERHEAD)
DECODE = Stage(20, "decode", "decode", Kind.SERVICE)
QUEUE = Stage(30, "queue", "queue, until it leaves", Kind.QUEUE)
ADMISSION = Stage(40, "admission", "admission", Kind.QUEUE)
BATCH = Stage(50, "batch", "batch, not at Triton", Kind.OVERHEAD)
TRITON_NETWORK = Stage(60, "triton_network", "gateway ↔ Triton", Kind.TRANSPORT)
TRITON_UNSEEN = Stage(65, "triton", "Triton (its spans are missing)", Kind.SERVICE)
TRITON_SERVER = Stage(70, "triton_server", "Triton, front end", Kind.OVERHEAD)
ENSEMBLE = Stage(80, "ensemble", "between the steps", Kind.OVERHEAD)
ENCODE = Stage(900, "encode", "encode", Kind.SERVICE)

_FIXED = (CLIENT_NETWORK, GATEWAY, DECODE, QUEUE, ADMISSION, BATCH, TRITON_NETWORK,
          TRITON_UNSEEN, TRITON_SERVER, ENSEMBLE, ENCODE)  # fmt: skip
_BY_NAME = {
    "decode": DECODE,
    "queue": QUEUE,
    "admission": ADMISSION,
    "batch": BATCH,
    "encode": ENCODE,
}
"""The gateway's own spans; one that is not here is a stage of its own name."""

STEP_PARTS = (
    ("queue", Kind.QUEUE),
    ("input", Kind.SERVICE),
    ("infer", Kind.SERVICE),
    ("output", Kind.SERVICE),
    ("other", Kind.OVERHEAD),
)


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


@dataclass(frozen=True)
class SpanLabels:
    """What the time of each span is called.

    Attributes:
        stages: All there are.
        column: The stage of what no child of a span covers. ``(N,)``
        step: The step of Triton that a span belongs to, -1 for none. ``(N,)``
        names: Of the steps. ``(T,)``
        first: The first of the stages of each step, in the order of ``STEP_PARTS``. ``(T,)``
    """

    stages: Sequence[Stage]
    column: Ints
    step: Ints
    names: Sequence[str]
    first: Ints


def label_spans(forest: Forest) -> SpanLabels:
    """Return the stage of each span."""
    spans = forest.spans
    stages = list(_FIXED)
    column = np.full(len(spans), stages.index(GATEWAY), dtype=np.int64)
    inside = np.flatnonzero(_inside(forest))
    for name, rows in _by_text(spans["name"].gather(inside), inside):
        stage = _BY_NAME.get(name) or _other(name, stages)
        if stage not in stages:
            stages.append(stage)
        column[rows] = stages.index(stage)
    column[forest.call] = stages.index(GATEWAY)
    column[forest.root[forest.root != forest.call]] = stages.index(CLIENT_NETWORK)
    at_triton = (spans["method"] == TRITON_METHOD).fill_null(False).to_numpy()
    kind = forest.column("kind")
    has_child = np.bincount(forest.parent[forest.parent >= 0], minlength=len(spans)) > 0
    column[at_triton & (kind == CLIENT) & has_child] = stages.index(TRITON_NETWORK)
    column[at_triton & (kind == CLIENT) & ~has_child] = stages.index(TRITON_UNSEEN)
    root = (spans["name"] == "InferRequest").to_numpy() | (at_triton & (kind == SERVER))
    column[root] = stages.index(TRITON_SERVER)
    step, names = _steps(forest)
    column[forest.is_set("model") & (step < 0)] = stages.index(ENSEMBLE)
    first = np.zeros(len(names), dtype=np.int64)
    for place, code in enumerate(_in_order_of_time(forest, step)):
        first[code] = len(stages)
        stages.extend(_stages_of_step(names[code], place))
    of_step = step >= 0
    column[of_step] = first[step[of_step]] + len(STEP_PARTS) - 1
    return SpanLabels(stages, column, step, names, first)


def _other(name: str, known: Sequence[Stage]) -> Stage:
    """Return the stage of a span that is not of ours."""
    many = sum(one.key.startswith("other.") for one in known) >= _MOST_OTHER
    text = "other spans" if many else name
    return Stage(55, f"other.{text}", text, Kind.OVERHEAD)


def _stages_of_step(step: str, place: int) -> Iterator[Stage]:
    for offset, (part, kind) in enumerate(STEP_PARTS):
        at = 100 + len(STEP_PARTS) * place + offset
        yield Stage(at, f"step.{step}.{part}", f"{step}: {part}", kind)


def _inside(forest: Forest) -> npt.NDArray[np.bool_]:
    """Return which spans are below a call and of the process that served it. ``(N,)``."""
    inside = np.zeros(len(forest.parent), dtype=bool)
    inside[forest.call] = True
    service = forest.spans["service"].rank("dense").to_numpy()
    for rows in forest.children_by_level():
        above = forest.parent[rows]
        inside[rows] |= inside[above] & (service[rows] == service[above])
    inside[forest.call] = False
    return inside


def _by_text(texts: pl.Series, rows: Ints) -> Iterator[tuple[str, Ints]]:
    """Give each text with the rows that have it, the most frequent first."""
    frame = pl.DataFrame({"text": texts, "row": rows}).group_by("text").agg("row")
    frame = frame.sort(pl.col("row").list.len(), "text", descending=[True, False])
    for text, found in zip(frame["text"], frame["row"], strict=True):
        yield text, found.to_numpy()


def _steps(forest: Forest) -> tuple[Ints, list[str]]:
    """Return the step that each span of Triton belongs to, and the steps' names.

    A model that has models below it is an ensemble; the others are its steps. Their `compute`
    belongs to them.
    """
    spans = forest.spans
    name = spans.select(pl.coalesce("step", pl.col("model").str.split("__").list.last()))
    codes = name.to_series().rank("dense").fill_null(0).to_numpy().astype(np.int64) - 1
    names = name.to_series().drop_nulls().unique().sort().to_list()
    has_model = forest.is_set("model")
    codes[~has_model] = -1  # a span of the gateway may name a step too: the one that failed
    rows = np.flatnonzero(has_model & (forest.parent >= 0))
    above = forest.parent[rows]
    codes[above[has_model[above]]] = -1
    computes = (forest.column("compute_start") > 0) & ~has_model & (forest.parent >= 0)
    codes[computes] = codes[forest.parent[computes]]
    return codes, names


def _in_order_of_time(forest: Forest, step: Ints) -> list[int]:
    """Return the steps as they follow each other: by how long after its parent each begins."""
    rows = np.flatnonzero((step >= 0) & (forest.parent >= 0) & forest.is_set("model"))
    since = forest.start[rows] - forest.start[forest.parent[rows]]
    frame = pl.DataFrame({"step": step[rows], "since": since})
    medians = frame.group_by("step").agg(pl.col("since").median()).sort("since", "step")
    return medians["step"].to_list()


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
