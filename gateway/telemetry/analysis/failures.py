"""Where calls failed: the step of the model, the stage of the gateway, or before both."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.telemetry.analysis.forest import Forest, Ints
from gateway.telemetry.analysis.span_columns import CLIENT
from gateway.telemetry.analysis.stage_times import StageTimes

Array = npt.NDArray[Any]

NO_RELEASE = "before a release was chosen"
ASKING_TRITON = "asking Triton"


def failed_steps(forest: Forest, times: StageTimes) -> Array:
    """Return the step that failed in each call, '' for none. ``(C,)``.

    The call's own span may name it. Else, Triton says nothing, but an ensemble stops at the step
    that fails: it is the one that ended last below a request that failed.
    """
    spans = forest.spans
    named = spans["step"].fill_null("").to_numpy().astype(object)[forest.call]
    below = spans["failed"].to_numpy() & (forest.column("kind") == CLIENT) & forest.asks_triton()
    for rows in forest.children_by_level():
        below[rows] |= below[forest.parent[rows]]
    last = _ended_last(forest, times, np.flatnonzero(below & (times.labels.step >= 0)))
    row = _of_calls(forest, times, last)
    step = np.where(row >= 0, times.labels.step[row], -1)
    guessed = np.array([*times.labels.names, ""], dtype=object)[step]
    return np.where(named != "", named, guessed)


def failed_places(forest: Forest, times: StageTimes) -> Array:
    """Return where each call failed, in words; '' where nothing tells. ``(C,)``.

    It is the failed span below the call, or of its batch, that ended last. A call that names no
    release has failed before one was chosen.
    """
    spans = forest.spans
    is_call = np.zeros(len(spans), dtype=bool)
    is_call[forest.call] = True
    ours = spans["failed"].to_numpy() & ~is_call & (times.labels.step < 0) & (forest.parent >= 0)
    asks = forest.asks_triton()
    last = _ended_last(
        forest, times, np.flatnonzero(ours & (asks | (forest.column("kind") != CLIENT)))
    )
    # A call to Triton that lies in no call's own trace is the top of its batch, and failed itself.
    own = np.flatnonzero(asks & spans["failed"].to_numpy())
    last[own] = np.where(last[own] < 0, own, last[own])
    row = _of_calls(forest, times, last)
    names = spans["name"].to_numpy()
    places = np.full(len(row), "", dtype=object)
    for one in np.flatnonzero(row >= 0):
        places[one] = ASKING_TRITON if asks[row[one]] else f"in `{names[row[one]]}`"
    nowhere = (spans["line"].fill_null("").to_numpy()[forest.call] == "") & (row < 0)
    places[nowhere] = NO_RELEASE
    return places


def _ended_last(forest: Forest, times: StageTimes, rows: Ints) -> Ints:
    """Return which of some spans ended last below each span that heads a call or a batch; -1: none.

    ``(N + 1,)``: the one more stands for no span.
    """
    rows = rows[np.argsort(forest.end[rows], kind="stable")]
    last = np.full(len(forest.spans) + 1, -1, dtype=np.int64)
    for path in (times.batch_path, times.path):
        known = rows[path.unit[rows] >= 0]
        last[path.unit[known]] = known
    return last


def _of_calls(forest: Forest, times: StageTimes, last: Ints) -> Ints:
    """Return what each call has below itself, or else below its batch. ``(C,)``."""
    own = last[forest.root]
    found: Ints = np.where(own >= 0, own, last[times.batch])
    return found
