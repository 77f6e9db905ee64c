"""Calls with the time of their stages: what every number of a report is made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gateway.telemetry.analysis.company import behind_ms, beside
from gateway.telemetry.analysis.failures import failed_places, failed_steps
from gateway.telemetry.analysis.forest import Forest, build_forest
from gateway.telemetry.analysis.loading import SpanTable
from gateway.telemetry.analysis.stage_times import measure_stages
from gateway.telemetry.analysis.stages import TRITON_UNSEEN, Stage

_MANY = ("Batch", "Stream")
Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


@dataclass(frozen=True, order=True)
class GroupKey:
    """Whose calls are reported together."""

    rpc: str
    """``RiskService/ScoreRisk``"""
    line: str
    release: str
    variant: str

    @property
    def title(self) -> str:
        """For people: ``RiskService/ScoreRisk by score-risk/a1``."""
        return f"{self.rpc} by {self.line}/{self.release}" if self.line else self.rpc


@dataclass(frozen=True)
class Calls:
    """Calls that were served, one row each.

    Attributes:
        stages: In the order of the columns of ``ms``.
        ms: The time in every stage. ``(C, S)``, ms
        total_ms: What the calls took, by the client's clock if its span is there. ``(C,)``
        start_ns: When they began, in ns since 1970. ``(C,)``
        key: Index of the group. ``(C,)``
        keys: The groups.
        ok: Whether they were answered without an error. ``(C,)``
        error: What went wrong, as the status says; '' for nothing. ``(C,)``
        failed_step: The step of the model that failed, if one did. ``(C,)``
        failed_at: Where a call failed, in words; '' if it did not, or nothing tells. ``(C,)``
        trace: IDs of their traces, in hex. ``(C,)``
        rows: How many requests went to Triton together with it; NaN where it is not known. ``(C,)``
        mates: How many calls went to Triton together; 1 for a call on its own. ``(C,)``
        behind_ms: How long it waited to leave while another batch of its release was at Triton,
            of those that were traced. ``(C,)``
        beside: How many calls, of all, the gateway had when it came, with itself. ``(C,)``
        has_client: Whether the client's span is there. ``(C,)``
        span: Row of the span that measures it. ``(C,)``
    """

    stages: Sequence[Stage]
    ms: Floats
    total_ms: Floats
    start_ns: npt.NDArray[np.int64]
    key: npt.NDArray[np.int64]
    keys: Sequence[GroupKey]
    ok: npt.NDArray[np.bool_]
    error: Array
    failed_step: Array
    failed_at: Array
    trace: Array
    rows: Floats
    mates: Floats
    behind_ms: Floats
    beside: Floats
    has_client: npt.NDArray[np.bool_]
    span: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.total_ms)

    def select(self, which: Array) -> Calls:
        """Return some of the calls: a mask, or rows."""
        kept = ("stages", "keys")
        arrays = {one.name: getattr(self, one.name)[which]
                  for one in fields(self) if one.name not in kept}  # fmt: skip
        return replace(self, **arrays)

    def used(self) -> Calls:
        """Return the same without stages that none of them has."""
        columns = np.flatnonzero(self.ms.any(axis=0))
        return replace(self, stages=[self.stages[one] for one in columns], ms=self.ms[:, columns])

    def groups(self) -> Iterator[tuple[GroupKey, Calls]]:
        """Give the calls of each group, by time."""
        order = np.lexsort((self.start_ns, self.key))
        bounds = np.searchsorted(self.key[order], np.arange(len(self.keys) + 1))
        for place in sorted(range(len(self.keys)), key=lambda one: self.keys[one]):
            rows = order[bounds[place] : bounds[place + 1]]
            if len(rows):
                yield self.keys[place], self.select(rows).used()

    def column(self, key: str) -> Floats:
        """Return the time in one stage; zeros if there is none of that name."""
        for place, stage in enumerate(self.stages):
            if stage.key == key:
                return self.ms[:, place]
        return np.zeros(len(self))


def find_calls(table: SpanTable) -> tuple[Calls, Forest]:
    """Return the calls that were served, and the trees that they are in."""
    forest = build_forest(table)
    times = measure_stages(forest)
    spans = forest.spans
    server = spans[forest.call]
    method = server["method"].fill_null("")
    frame = pl.DataFrame(
        {
            "rpc": [_short(one) for one in method.to_list()],
            "line": server["line"].fill_null(""),
            "release": server["release"].fill_null(""),
            "variant": server["variant"].fill_null(""),
        }
    )
    key = frame.with_columns(pl.struct(pl.all()).rank("dense").alias("key"))["key"]
    codes = key.to_numpy().astype(np.int64) - 1
    first = frame.with_columns(key=codes).unique("key").sort("key")
    keys = [GroupKey(*row[:4]) for row in first.iter_rows()]
    code = server["code"].fill_null("").to_numpy()
    failed = server["failed"].to_numpy() | ~np.isin(code, ["", "OK"])
    error = np.where(failed, np.where(code == "", "ERROR", code), "").astype(object)
    batch = times.batch
    rows, mates = (_of_batch(spans, name, batch) for name in ("batch_size", "batch_calls"))
    own_rows = server["batch_size"].to_numpy().astype(float)
    # One request goes alone; how many a stream or a `Batch…` call brought, only it can say.
    single = [not one.rpartition("/")[2].startswith(_MANY) for one in frame["rpc"].to_list()]
    alone = np.isnan(own_rows) & np.array(single, dtype=bool) & (frame["line"] != "").to_numpy()
    own_rows[alone] = 1
    return Calls(
        stages=times.stages,
        ms=times.ms,
        total_ms=(forest.end[forest.root] - forest.start[forest.root]) / 1e6,
        start_ns=forest.start[forest.root],
        key=codes,
        keys=keys,
        ok=~failed,
        error=error,
        failed_step=np.where(failed, failed_steps(forest, times), ""),
        failed_at=np.where(failed, failed_places(forest, times), ""),
        trace=_hex(server),
        rows=np.where(batch >= 0, np.where(np.isnan(rows), mates, rows), own_rows),
        mates=np.where(batch >= 0, mates, 1.0),
        behind_ms=behind_ms(forest, times),
        beside=beside(forest),
        has_client=forest.root != forest.call,
        span=forest.root,
    ), forest


def _short(method: str) -> str:
    package, _, name = method.rpartition("/")
    return f"{package.rpartition('.')[2]}/{name}" if package else name


def _of_batch(spans: pl.DataFrame, name: str, batch: npt.NDArray[np.int64]) -> Floats:
    values: Floats = spans[name].to_numpy()[np.maximum(batch, 0)] if len(spans) else np.zeros(0)
    return values


def _hex(server: pl.DataFrame) -> Array:
    high, low = server["trace_high"].to_list(), server["trace"].to_list()
    return np.array([f"{a:016x}{b:016x}" for a, b in zip(high, low, strict=True)], dtype=object)


def triton_is_missing(calls: Calls) -> int:
    """Return how many calls went to Triton and have no span of it."""
    return int(np.count_nonzero(calls.column(TRITON_UNSEEN.key)))
