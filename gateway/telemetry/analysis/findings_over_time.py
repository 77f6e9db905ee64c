"""What a report says of latency that changes while the load runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.telemetry.analysis.finding import Finding, count, is_busy, ms
from gateway.telemetry.analysis.levers import MORE_TRITONS, WORKERS
from gateway.telemetry.analysis.summary import GroupSummary

_OTHER_RATE = 1.2
"""Rates that differ by more are two loads, not one."""
_LEAST_COLUMNS = 9
"""Of the timeline, with calls in them."""


def trend(summary: GroupSummary) -> Iterator[Finding]:
    """Say whether latency grows or falls, and whether it is the load that did."""
    line = summary.timeline
    if line is None or summary.is_stream:
        return
    calls = [sum(column) for column in zip(*line.counts, strict=True)]
    known = [(p50, many) for p50, many in zip(line.p50_ms, calls, strict=True) if p50 == p50]
    if len(known) < _LEAST_COLUMNS:
        return
    third = len(known) // 3
    parts = known[:third], known[third:-third], known[-third:]
    first, middle, last = (_middle(part) for part in parts)
    rates = [sum(many for _, many in part) / (len(part) * line.column_s) for part in parts]
    then, now = rates[0], rates[2]
    seen = f"p50 is {ms(first)} in the first third and {ms(last)} in the last"
    came = f"{count(then)} calls a second came in the first third, {count(now)} in the last"
    if last > 1.5 * first and last > 1.2 * middle:
        if max(now, rates[1]) > _OTHER_RATE * then:
            text = f"latency grows, and so does the load: {seen}; {came}"
            yield Finding("growing", 0.3, text, value=last / first)
            return
        text = f"latency grows under the same load: {seen}, though {came}; "
        text += "more comes in than is served, or the machine is shared"
        setting = f"{MORE_TRITONS}; {WORKERS}" if is_busy(summary) else MORE_TRITONS
        yield Finding("growing", 0.6, text, setting, value=last / first)
    elif first > 1.5 * last and first > 1.2 * middle:
        if then > _OTHER_RATE * now:
            text = f"latency falls, and so does the load: {seen}; {came}"
        else:
            text = f"{seen}: it was still warming up, so leave the beginning out of comparisons"
        yield Finding("warming", 0.1, text, value=first / last)


def _middle(part: Sequence[tuple[float, int]]) -> float:
    """Return the median of columns' medians: each counts for as many calls as it has."""
    half, before = sum(many for _, many in part) / 2, 0
    for p50, many in sorted(part):
        before += many
        if before >= half:
            return p50
    return 0.0
