"""Holds calls against a budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

import numpy as np

from gateway.telemetry.analysis.budget import Budget, CallLimits, Limits, StageLimits
from gateway.telemetry.analysis.calls import Calls, Floats, GroupKey
from gateway.telemetry.analysis.stages import FIXED, STEP_PARTS, Kind, Stage
from gateway.telemetry.analysis.summary import TAIL
from gateway.telemetry.analysis.writing import nearest

_MOST_BLAMED = 3
_KINDS = [one.value for one in Kind]
_PARTS = [part for part, _ in STEP_PARTS]


class Verdict(StrEnum):
    """What a check says."""

    WITHIN = "within"
    BROKEN = "broken"
    UNKNOWN = "unknown"
    """Too few calls to say, or no such call or stage."""


@dataclass(frozen=True)
class Check:
    """One limit, and what it was held against.

    Attributes:
        title: Whose calls.
        what: ``whole call``, or the stages as the budget names them.
        measure: ``p99_ms``, ``share``, …
        limit: What is allowed.
        actual: What was seen; NaN if nothing can be said.
        verdict: What comes of it.
        calls: Answered calls that it was seen in.
        blamed: The stages that most of it went into, the largest first: label and value.
    """

    title: str
    what: str
    measure: str
    limit: float
    actual: float
    verdict: Verdict
    calls: int
    blamed: Sequence[tuple[str, float]] = ()

    @property
    def text(self) -> str:
        """The check in words."""
        if self.verdict is Verdict.UNKNOWN:
            return f"{self.title}: {self.what}"
        sign = ">" if self.verdict is Verdict.BROKEN else "≤"
        said = f"{self.title}: {self.what} {self.measure} {_show(self.measure, self.actual)} " \
               f"{sign} {_show(self.measure, self.limit)}"  # fmt: skip
        if self.verdict is Verdict.BROKEN and self.blamed:
            most = ", ".join(f"{name} {_show(self.measure, value)}" for name, value in self.blamed)
            said += f"; most of it: {most}"
        return said


def check(budget: Budget, calls: Calls) -> list[Check]:
    """Return every limit of a budget, held against calls."""
    groups = list(calls.groups())
    return [one for limits in budget.budgets for one in _check(limits, groups, budget.min_calls)]


def _check(
    limits: CallLimits, groups: Sequence[tuple[GroupKey, Calls]], min_calls: int
) -> Iterator[Check]:
    matching = [(key, calls) for key, calls in groups if _matches(limits, key)]
    if not matching and not limits.optional:
        title = f"rpc {limits.rpc}, line {limits.line}, release {limits.release}"
        yield _unknown(title, "no call matches", 0)
    names = _StageNames([stage for _, calls in matching for stage in calls.stages])
    for key, calls in matching:
        answered = calls.select(calls.ok).used()
        if limits.error_share is not None:
            share = 1 - len(answered) / len(calls)
            yield _judged(key, "failed calls", "share", limits.error_share, share, len(calls), ())
        if len(answered) < min_calls:
            text = f"{len(answered)} answered calls are too few to say, {min_calls} are needed"
            yield _unknown(key.title, text, len(answered))
            continue
        everything = np.ones(len(answered.stages), dtype=bool)
        yield from _hold(key, "whole call", limits, answered, everything)
        for name, stage_limits in limits.stages.items():
            if not names.has(name):
                yield _unknown(key.title, names.said_of(name), len(answered))
                continue
            which = np.array([_is_named(name, stage.key, stage.kind) for stage in answered.stages])
            yield from _hold(key, name, stage_limits, answered, which)


def _matches(limits: CallLimits, key: GroupKey) -> bool:
    rpcs = (key.rpc, key.rpc.rpartition("/")[2])
    return (
        any(fnmatchcase(rpc, limits.rpc) for rpc in rpcs)
        and fnmatchcase(key.line, limits.line)
        and fnmatchcase(key.release, limits.release)
    )


def _is_named(name: str, key: str, kind: Kind) -> bool:
    return kind.value == name if name in _KINDS else fnmatchcase(key, name)


class _StageNames:
    """What a budget may call the stages of the calls that it is for, all of them together.

    A stage that just did not occur, such as `admission` or a part of a step, is one too: its
    time is 0. Any other name would be kept by every call, so it must be a mistake.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._steps = list(dict.fromkeys(one.step for one in stages if one.step))
        others = [one.key for one in stages if one.key.startswith("other.")]
        self._single = [*(one.key for one in FIXED), *others]
        parts = [f"step.{step}.{part}" for step in self._steps for part in _PARTS]
        # Patterns that ask for no name are well for calls without any step or other span too.
        self._keys = [*self._single, *parts, *(f"step.*.{part}" for part in _PARTS), "other.*"]

    def has(self, name: str) -> bool:
        """Return whether a name is a kind, or a stage or pattern of stages."""
        return name in _KINDS or any(fnmatchcase(key, name) for key in self._keys)

    def said_of(self, name: str) -> str:
        """Return what is wrong with a name, and which there are."""
        of_steps = [f"step.{step}.*" for step in self._steps]
        meant = nearest(name, [*_KINDS, *self._keys, *of_steps])
        known = f"{', '.join(self._single)}; kinds: {', '.join(_KINDS)}"
        if self._steps:
            known += f"; step.NAME.PART with NAME one of {', '.join(self._steps)} and PART one " \
                     f"of {', '.join(_PARTS)}"  # fmt: skip
        return f"`{name}` is no stage of these calls; {meant}There are {known}"


def _hold(key: GroupKey, what: str, limits: Limits, calls: Calls,
          which: Floats) -> Iterator[Check]:  # fmt: skip
    """Hold some stages of calls against limits."""
    ms = calls.ms[:, which]
    labels = [stage.label for stage, is_one in zip(calls.stages, which, strict=True) if is_one]
    whole = ms.sum(axis=1)
    slowest = np.argsort(calls.total_ms, kind="stable")[
        len(calls) - max(1, math.ceil(TAIL * len(calls))) :
    ]
    for measure, percent in (("p50_ms", 50), ("p95_ms", 95), ("p99_ms", 99), ("mean_ms", None)):
        limit = getattr(limits, measure)
        if limit is None:
            continue
        actual = float(whole.mean() if percent is None else np.percentile(whole, percent))
        # What calls that are at least so slow are made of, or all for a mean.
        rows = np.flatnonzero(whole >= actual) if percent is not None else np.arange(len(whole))
        blamed = _blamed(labels, ms[rows].mean(axis=0) if len(rows) else ms.mean(axis=0))
        yield _judged(key, what, measure, limit, actual, len(calls), blamed)
    if isinstance(limits, StageLimits):
        for measure, rows in (("share", np.arange(len(calls))), ("share_of_p99", slowest)):
            limit = getattr(limits, measure)
            if limit is not None:
                total = max(float(calls.total_ms[rows].sum()), 1e-12)
                shares = ms[rows].sum(axis=0) / total
                yield _judged(key, what, measure, limit, float(shares.sum()), len(calls),
                              _blamed(labels, shares))  # fmt: skip


def _blamed(labels: Sequence[str], values: Floats) -> list[tuple[str, float]]:
    order = np.argsort(-values)[:_MOST_BLAMED]
    return [(labels[one], float(values[one])) for one in order if values[one] > 0]


def _judged(key: GroupKey, what: str, measure: str, limit: float, actual: float, calls: int,
            blamed: Sequence[tuple[str, float]]) -> Check:  # fmt: skip
    verdict = Verdict.BROKEN if actual > limit else Verdict.WITHIN
    return Check(key.title, what, measure, limit, actual, verdict, calls, blamed)


def _unknown(title: str, text: str, calls: int) -> Check:
    return Check(title, text, "calls", math.nan, math.nan, Verdict.UNKNOWN, calls)


def _show(measure: str, value: float) -> str:
    return f"{value:.2f} ms" if measure.endswith("_ms") else f"{100 * value:.1f} %"
