"""Two sets of calls compared: before and after, stable and canary; with intervals.

Calls that follow each other share a moment of the machine, so they are not independent: whole
blocks of them are drawn anew, not single calls (a block bootstrap). Percentiles are taken from
histograms with bins 2 % wide, so that a resample costs a matrix product and not a sort; their
intervals are wider by a bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.telemetry.analysis.calls import Calls, Floats
from gateway.telemetry.analysis.stages import Kind, Stage
from gateway.telemetry.analysis.writing import percent

LEAST_CALLS = 30
RESAMPLES = 500
_MOST_BLOCKS = 200
_LEAST_IN_BLOCK = 5
_NOTHING_MS = 1e-6
_BIN = 1.02
_LOWEST_MS, _HIGHEST_MS = 1e-3, 1e6
_BINS = int(np.log(_HIGHEST_MS / _LOWEST_MS) / np.log(_BIN))
_EDGES = np.r_[0.0, np.geomspace(_LOWEST_MS, _HIGHEST_MS, 1 + _BINS)]


@dataclass(frozen=True)
class Change:
    """A number before and after, and the 95 % interval of the difference."""

    before: float
    after: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """After less before."""
        return self.after - self.before

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > _NOTHING_MS or self.high < -_NOTHING_MS


@dataclass(frozen=True)
class StageChange:
    """How a stage changed, in ms."""

    key: str
    label: str
    kind: str
    mean: Change
    p50: Change
    p99: Change


@dataclass(frozen=True)
class Comparison:
    """How the calls of one RPC changed."""

    title: str
    before: str
    """What the first set is, for people."""
    after: str
    before_calls: int
    after_calls: int
    total: StageChange | None
    """``None`` if there are too few calls to say."""
    stages: Sequence[StageChange]
    """The largest change first."""
    verdict: str


def compare(title: str, before: tuple[str, Calls], after: tuple[str, Calls], *,
            seed: int = 0) -> Comparison:  # fmt: skip
    """Compare two sets of calls.

    Args:
        title: Whose calls they are.
        before: What the first set is, and its calls, by time.
        after: The second set.
        seed: Of the resamples.
    """
    (name_before, one), (name_after, two) = before, after
    one, two = one.select(one.ok), two.select(two.ok)
    counts = len(one), len(two)
    if min(counts) < LEAST_CALLS:
        verdict = f"too few calls to compare: {counts[0]} and {counts[1]}, {LEAST_CALLS} at least"
        return Comparison(title, name_before, name_after, *counts, None, [], verdict)
    # By key: a step may stand at another place in the other set, and is the same stage.
    stages = sorted({stage.key: stage for stage in (*one.stages, *two.stages)}.values())
    chance = np.random.default_rng(seed)
    samples = [_Resampled(calls, chance) for calls in (one, two)]
    whole = Stage(-1, "total", "whole call", Kind.OVERHEAD)
    total = _change(whole, samples, one.total_ms, two.total_ms)
    changes = [_change(stage, samples, one.column(stage.key), two.column(stage.key))
               for stage in stages]  # fmt: skip
    changes.sort(key=lambda change: -abs(change.mean.difference))
    verdict = _verdict(total, changes)
    return Comparison(title, name_before, name_after, *counts, total, changes, verdict)


class _Resampled:
    """Calls in blocks, and which blocks each resample draws how often."""

    def __init__(self, calls: Calls, chance: np.random.Generator) -> None:
        count = len(calls)
        blocks = max(1, min(_MOST_BLOCKS, count // _LEAST_IN_BLOCK))
        self.block = (np.arange(count) * blocks) // count
        self.size = np.bincount(self.block, minlength=blocks)
        self.weight = chance.multinomial(blocks, np.full(blocks, 1 / blocks), size=RESAMPLES)

    def means(self, values: Floats) -> Floats:
        """Return the mean of each resample. ``(B,)``."""
        sums = np.bincount(self.block, weights=values, minlength=len(self.size))
        means: Floats = (self.weight @ sums) / (self.weight @ self.size)
        return means

    def percentiles(self, values: Floats, percents: Sequence[float]) -> Floats:
        """Return percentiles of each resample. ``(P, B)``."""
        bins = np.searchsorted(_EDGES, values, side="right") - 1
        used, place = np.unique(bins, return_inverse=True)
        table = np.zeros((len(self.size), len(used)), dtype=np.float32)
        np.add.at(table, (self.block, place), 1)
        drawn = np.cumsum(self.weight.astype(np.float32) @ table, axis=1)  # (B, bins)
        low = _EDGES[used]
        high = _EDGES[np.minimum(used + 1, len(_EDGES) - 1)]
        return np.array([_at(drawn, low, high, percent / 100) for percent in percents])


def _at(drawn: npt.NDArray[np.float32], low: Floats, high: Floats, share: float) -> Floats:
    """Return a percentile of each row of a table of cumulated counts. ``(B,)``."""
    wanted = share * drawn[:, -1]
    place = (drawn < wanted[:, None]).sum(axis=1)
    rows = np.arange(len(drawn))
    under = np.where(place > 0, drawn[rows, np.maximum(place - 1, 0)], 0)
    inside = (wanted - under) / np.maximum(drawn[rows, place] - under, 1e-9)
    value: Floats = low[place] + np.clip(inside, 0, 1) * (high[place] - low[place])
    return value


def _change(
    stage: Stage, samples: Sequence[_Resampled], before: Floats, after: Floats
) -> StageChange:
    means = [sample.means(values) for sample, values in zip(samples, (before, after), strict=True)]
    points = [sample.percentiles(values, (50, 99))
              for sample, values in zip(samples, (before, after), strict=True)]  # fmt: skip
    seen = [np.percentile(values, [50, 99]) for values in (before, after)]
    p50, p99 = (
        _interval(
            float(seen[0][one]), float(seen[1][one]), points[1][one] - points[0][one], _BIN - 1
        )
        for one in (0, 1)
    )
    mean = _interval(float(before.mean()), float(after.mean()), means[1] - means[0])
    return StageChange(stage.key, stage.label, stage.kind.value, mean, p50, p99)


def _interval(before: float, after: float, differences: Floats, blur: float = 0.0) -> Change:
    """Return a change; ``blur`` is the share of a value that cannot be told apart."""
    low, high = np.percentile(differences, [2.5, 97.5])
    wider = blur * max(before, after)
    return Change(before, after, float(low) - wider, float(high) + wider)


def _verdict(total: StageChange, stages: Sequence[StageChange]) -> str:
    mean = total.mean
    change = (
        f"mean {mean.before:.2f} → {mean.after:.2f} ms ({mean.difference:+.2f} ms, 95 % interval "
        f"{mean.low:+.2f} to {mean.high:+.2f}), "
        f"p99 {total.p99.before:.2f} → {total.p99.after:.2f} ms"
    )
    if not mean.is_real and not total.p99.is_real:
        return f"no difference that could not be chance: {change}"
    slower = mean.difference > 0 if mean.is_real else total.p99.difference > 0
    text = f"{'slower' if slower else 'faster'}: {change}"
    same = [one for one in stages if one.mean.is_real and (one.mean.difference > 0) == slower]
    return f"{text}; {_largest_part(same[0], mean)}" if same else text


def _largest_part(stage: StageChange, whole: Change) -> str:
    """Return what the stage that changed most has in the change of the whole call's mean."""
    name, difference = f"`{stage.label}`", f"{stage.mean.difference:+.2f} ms"
    if not whole.is_real:  # only the p99 changed: there is no sum that this is a part of
        return f"the mean of {name} changed most ({difference})"
    share = stage.mean.difference / whole.difference
    if share > 1.005:
        return f"{name} alone is {difference}, other stages went the other way"
    said = "most" if share > 0.5 else "the largest part"
    return f"{said} of it is {name} ({difference}, {percent(share)})"
