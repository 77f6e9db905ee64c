"""What a finding is, and what the rules that find some have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.telemetry.analysis import stages as stage_names
from gateway.telemetry.analysis.summary import GroupSummary
from gateway.telemetry.analysis.writing import milliseconds, percent

LEAST_TAIL = 10
"""The slowest 1 % are spoken of if they are so many calls; else the mean is."""
MANY_AT_A_TIME = 8
"""Calls in the gateway, in the mean, that are enough to keep more of something busy."""
_BUSY = 0.7
"""Of the time of one processor."""
OWN_WORK = (stage_names.GATEWAY.key, stage_names.DECODE.key, stage_names.ENCODE.key)


@dataclass(frozen=True)
class Finding:
    """One conclusion.

    Attributes:
        rule: Which rule found it.
        weight: How much of the time it is about, in [0, 1]; errors count as 1.
        text: In words, with the number.
        setting: What to change; '' if there is nothing to.
        stage: The stage that it is about, or ''.
        value: The number itself.
        unit: Of the number: ``share``, ``ms`` or ``calls``.
    """

    rule: str
    weight: float
    text: str
    setting: str = ""
    stage: str = ""
    value: float = 0.0
    unit: str = "share"


@dataclass(frozen=True)
class Portion:
    """What some stages take: of the slowest calls if there are enough of them, else of all."""

    share: float
    ms: float
    text: str
    """``52 % of the slowest 1 % (24.9 ms of 48.1 ms in the mean)``"""


def portion_of(summary: GroupSummary, *keys: str) -> Portion:
    """Return what some stages take; nothing if the calls have none of them, or only a few do."""
    seen = [one for one in summary.stages if one.key in keys]
    tail = has_tail(summary)
    share = min(1.0, math.fsum(one.tail_share if tail else one.share for one in seen))
    took = math.fsum(one.tail_ms if tail else one.mean_ms for one in seen)
    if not tail and took > 1.01 * math.fsum(one.p95_ms for one in seen):
        share = 0.0  # a few calls have nearly all of it: too few to conclude anything from
    whole = summary.latency.tail_ms if tail else summary.latency.mean_ms
    of = "the slowest 1 %" if tail else "the time"
    return Portion(share, took, f"{percent(share)} of {of} ({ms(took)} of {ms(whole)} in the mean)")


def has_tail(summary: GroupSummary) -> bool:
    """Say whether the slowest calls are enough to conclude anything from them."""
    return summary.latency.tail_calls >= LEAST_TAIL


def is_busy(summary: GroupSummary) -> bool:
    """Say whether the gateway had so much to do that more workers could help.

    Traces do not say how many workers and cores there are, nor how busy those were.
    """
    work_ms = math.fsum(one.mean_ms for one in summary.stages if one.key in OWN_WORK)
    return summary.at_a_time >= MANY_AT_A_TIME or summary.rate * work_ms / 1e3 >= _BUSY


def is_fused(summary: GroupSummary) -> bool:
    """Say whether the release is served as one model."""
    return summary.key.variant == "fused"


def ms(value: float) -> str:
    """Return a time for people: ``24.9 ms``."""
    return f"{milliseconds(value)} ms"


def count(value: float) -> str:
    """Return a number of calls, or of calls a second, for people: ``2.7``, ``1,110``."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
