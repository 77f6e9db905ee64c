"""How the steps of a model use Triton: how many run at a time, how busy they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from gateway.telemetry.analysis.forest import Forest


@dataclass(frozen=True)
class StepUse:
    """One step of one release."""

    model: str
    """Its name in Triton."""
    step: str
    executions: int
    requests_per_execution: float
    """More than 1 where Triton put requests together."""
    at_a_time: int
    """Executions that were seen at the same moment, at most: its instances, or fewer."""
    busy: float
    """Share of the time in which at least one was running."""


def step_use(forest: Forest) -> dict[str, list[StepUse]]:
    """Return the steps of each release, by ``LINE__RELEASE``.

    What is not sampled is not seen: all numbers are at least so high.
    """
    spans = forest.spans
    started = spans["compute_start"].to_numpy()
    rows = np.flatnonzero((started > 0) & (spans["compute_end"].to_numpy() > 0))
    has_model = forest.is_set("model")
    of_model = np.where(has_model[rows] | (forest.parent[rows] < 0), rows, forest.parent[rows])
    frame = pl.DataFrame(
        {
            "model": spans["model"].gather(of_model),
            "begin": started[rows],
            "end": spans["compute_end"].gather(rows),
        }
    ).drop_nulls()
    found: dict[str, list[StepUse]] = {}
    for (model,), some in frame.group_by("model", maintain_order=True):
        release, _, step = str(model).rpartition("__")
        # Requests that Triton puts together have the same times.
        together = some.group_by("begin").agg(pl.col("end").max(), pl.len()).sort("begin")
        use = _use(together["begin"].to_numpy(), together["end"].to_numpy())
        found.setdefault(release or str(model), []).append(
            StepUse(str(model), step, len(together), len(some) / len(together), *use)
        )
    return found


def _use(begin: np.ndarray[tuple[int], np.dtype[np.int64]],
         end: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, float]:  # fmt: skip
    """Return how many run at a time at most, and the share of the time in which one does."""
    times = np.r_[begin, end]
    change = np.r_[np.ones(len(begin), dtype=np.int64), -np.ones(len(end), dtype=np.int64)]
    order = np.lexsort((change, times))  # what ends where another begins does not overlap it
    running = np.cumsum(change[order])
    spans = np.diff(times[order])
    whole = max(int(end.max() - begin.min()), 1)
    return int(running.max()), float(spans[running[:-1] > 0].sum() / whole)
