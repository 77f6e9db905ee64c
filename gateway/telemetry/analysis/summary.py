"""The numbers of a report: for each RPC and release where the time goes, typically and at worst."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gateway.telemetry.analysis.batching import BatchEffect, batch_effect
from gateway.telemetry.analysis.calls import Array, Calls, Floats, GroupKey, triton_is_missing
from gateway.telemetry.analysis.stages import Kind
from gateway.telemetry.analysis.steps import StepUse
from gateway.telemetry.analysis.timeline import Timeline, timeline

TAIL = 0.01
"""The share of calls that are the tail."""
_TYPICAL = (45, 55)
"""Between these percentiles of the whole, calls are typical."""
_SLOWEST = 5


@dataclass(frozen=True)
class StageBudget:
    """What one stage takes of a call; times in ms."""

    key: str
    label: str
    kind: str
    step: str
    share: float
    """Of all the time that was spent."""
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    typical_ms: float
    """The mean in calls around the median."""
    tail_ms: float
    """The mean in the slowest calls."""
    tail_share: float
    """Of the time of the slowest calls."""

    @property
    def excess_ms(self) -> float:
        """What the slowest calls have more of than typical ones."""
        return self.tail_ms - self.typical_ms


@dataclass(frozen=True)
class Latency:
    """How long calls take, in ms."""

    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    typical_ms: float
    """The mean of calls around the median."""
    tail_ms: float
    """The mean of the slowest calls."""
    tail_calls: int


@dataclass(frozen=True)
class Slow:
    """One of the slowest calls."""

    trace_id: str
    ms: float
    stage: str
    """Where most of its time went."""
    stage_ms: float


@dataclass(frozen=True)
class Failures:
    """Calls that failed in the same way."""

    code: str
    place: str
    """Where, in words; '' if nothing tells."""
    calls: int


@dataclass(frozen=True)
class GroupSummary:
    """The calls of one RPC and release."""

    key: GroupKey
    calls: int
    """Those that were answered; all times are theirs."""
    errors: Mapping[str, int]
    failed_steps: Mapping[str, int]
    begin_ns: int
    seconds: float
    with_client: int
    without_triton: int
    """Calls that went to Triton and have no span of it."""
    latency: Latency
    stages: Sequence[StageBudget]
    kinds: Mapping[str, float]
    """Share of the time by kind of stage."""
    slowest: Sequence[Slow]
    batching: BatchEffect | None
    timeline: Timeline | None
    percentiles: Sequence[tuple[float, float]]
    """Pairs of percentile and ms: the curve of the latency."""
    steps: Sequence[StepUse] = field(default_factory=list)
    failures: Sequence[Failures] = ()
    """By status and place, the most frequent first."""
    at_a_time: float = 0.0
    """Calls, of all groups, that the gateway had when one of these came, in the mean."""

    @property
    def rate(self) -> float:
        """Traced calls a second."""
        return self.calls / self.seconds if self.seconds else 0.0

    @property
    def is_stream(self) -> bool:
        """Whether a call lasts as long as its client wants."""
        return self.key.rpc.partition("/")[2].startswith("Stream")

    def stage(self, key: str) -> StageBudget | None:
        """Return one stage, if the calls have it."""
        return next((one for one in self.stages if one.key == key), None)

    def sum(self, kind: Kind, *, tail: bool = False) -> float:
        """Return the share of a kind of stage, of all time or of the slowest calls' time."""
        some = (one for one in self.stages if one.kind == kind)
        return math.fsum(one.tail_share if tail else one.share for one in some)


def summarize(key: GroupKey, calls: Calls, steps: Sequence[StepUse] = ()) -> GroupSummary:
    """Return the numbers of a group.

    Args:
        key: Whose calls they are.
        calls: By time; at least one.
        steps: How its steps use Triton.
    """
    answered = calls.select(calls.ok).used()
    latency, typical, tail = _latency(answered.total_ms)
    last = int((calls.start_ns + (1e6 * calls.total_ms).astype(np.int64)).max())
    begin = int(calls.start_ns.min())
    stages = _budget(answered, typical, tail)
    return GroupSummary(
        key=key,
        calls=len(answered),
        errors=_counted(calls.error),
        failed_steps=_counted(calls.failed_step),
        begin_ns=begin,
        seconds=(last - begin) / 1e9,
        with_client=int(np.count_nonzero(answered.has_client)),
        without_triton=triton_is_missing(answered),
        latency=latency,
        stages=stages,
        kinds={kind.value: math.fsum(s.share for s in stages if s.kind == kind) for kind in Kind},
        slowest=_slowest(answered),
        batching=batch_effect(answered),
        timeline=timeline(answered),
        percentiles=_curve(answered.total_ms),
        steps=steps,
        failures=_failures(calls.select(~calls.ok)),
        at_a_time=float(calls.beside.mean()),
    )


def _latency(
    total: Floats,
) -> tuple[
    Latency, np.ndarray[tuple[int], np.dtype[np.intp]], np.ndarray[tuple[int], np.dtype[np.intp]]
]:
    """Return the latency, the typical calls and the slowest."""
    count = len(total)
    if not count:
        nothing = np.zeros(0, dtype=np.intp)
        return Latency(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0), nothing, nothing
    order = np.argsort(total, kind="stable")
    tail = order[count - max(1, math.ceil(TAIL * count)) :]
    low, high = (math.floor(count * edge / 100) for edge in _TYPICAL)
    typical = order[low : max(high, low + 1)]
    p50, p95, p99 = np.percentile(total, [50, 95, 99]).tolist()
    return (
        Latency(
            float(total.mean()), p50, p95, p99, float(total.max()),
            float(total[typical].mean()), float(total[tail].mean()), len(tail),
        ),
        typical,
        tail,
    )  # fmt: skip


def _budget(calls: Calls, typical: Array, tail: Array) -> list[StageBudget]:
    if not len(calls):
        return []
    whole = max(calls.total_ms.sum(), 1e-12)
    in_tail = max(calls.total_ms[tail].sum(), 1e-12)
    p50, p95, p99 = np.percentile(calls.ms, [50, 95, 99], axis=0)
    return [
        StageBudget(
            key=stage.key,
            label=stage.label,
            kind=stage.kind.value,
            step=stage.step,
            share=float(calls.ms[:, place].sum() / whole),
            mean_ms=float(calls.ms[:, place].mean()),
            p50_ms=float(p50[place]),
            p95_ms=float(p95[place]),
            p99_ms=float(p99[place]),
            typical_ms=float(calls.ms[typical, place].mean()),
            tail_ms=float(calls.ms[tail, place].mean()),
            tail_share=float(calls.ms[tail, place].sum() / in_tail),
        )
        for place, stage in enumerate(calls.stages)
    ]


def _slowest(calls: Calls) -> list[Slow]:
    found = []
    for row in np.argsort(-calls.total_ms, kind="stable")[:_SLOWEST]:
        worst = int(calls.ms[row].argmax())
        found.append(
            Slow(str(calls.trace[row]), float(calls.total_ms[row]), calls.stages[worst].label,
                 float(calls.ms[row, worst]))
        )  # fmt: skip
    return found


def _curve(total: Floats) -> list[tuple[float, float]]:
    """Return the latency at percentiles that lie closer the nearer they are to 100."""
    if not len(total):
        return []
    nines = np.linspace(0, max(1.0, math.log10(len(total))), 40)
    percentiles = 100 * (1 - 10.0**-nines)
    values = np.percentile(total, percentiles)
    return list(zip(percentiles.tolist(), values.tolist(), strict=True))


def _failures(calls: Calls) -> list[Failures]:
    pairs = Counter(zip(calls.error.tolist(), calls.failed_at.tolist(), strict=True))
    return [Failures(code, place, count) for (code, place), count in pairs.most_common()]


def _counted(texts: Array) -> dict[str, int]:
    return dict(Counter(text for text in texts.tolist() if text).most_common())
