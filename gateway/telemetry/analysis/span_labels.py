"""Which stage the time of each span is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from gateway.telemetry.analysis.forest import TRITON_METHOD, Forest, Ints
from gateway.telemetry.analysis.span_columns import CLIENT, SERVER
from gateway.telemetry.analysis.stages import (
    ATTEMPT,
    BY_NAME,
    CLIENT_NETWORK,
    ENSEMBLE,
    FIXED,
    GATEWAY,
    STEP_PARTS,
    TRITON_NETWORK,
    TRITON_SERVER,
    TRITON_UNSEEN,
    Stage,
    other_stage,
    stages_of_step,
)


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
    stages = list(FIXED)
    column = np.full(len(spans), stages.index(GATEWAY), dtype=np.int64)
    inside = np.flatnonzero(_inside(forest))
    for name, rows in _by_text(spans["name"].gather(inside), inside):
        stage = BY_NAME.get(name) or other_stage(name, stages)
        if stage not in stages:
            stages.append(stage)
        column[rows] = stages.index(stage)
    column[forest.call] = stages.index(GATEWAY)
    column[forest.root[forest.root != forest.call]] = stages.index(CLIENT_NETWORK)
    at_triton = (spans["method"] == TRITON_METHOD).fill_null(False).to_numpy()
    kind = forest.column("kind")
    seen = (forest.parent >= 0) & (spans["name"] != ATTEMPT).to_numpy()
    has_child = np.bincount(forest.parent[seen], minlength=len(spans)) > 0
    column[at_triton & (kind == CLIENT) & has_child] = stages.index(TRITON_NETWORK)
    column[at_triton & (kind == CLIENT) & ~has_child] = stages.index(TRITON_UNSEEN)
    root = (spans["name"] == "InferRequest").to_numpy() | (at_triton & (kind == SERVER))
    column[root] = stages.index(TRITON_SERVER)
    step, names = _steps(forest)
    column[forest.is_set("model") & (step < 0)] = stages.index(ENSEMBLE)
    first = np.zeros(len(names), dtype=np.int64)
    for place, code in enumerate(_in_order_of_time(forest, step)):
        first[code] = len(stages)
        stages.extend(stages_of_step(names[code], place))
    of_step = step >= 0
    column[of_step] = first[step[of_step]] + len(STEP_PARTS) - 1
    return SpanLabels(stages, column, step, names, first)


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
