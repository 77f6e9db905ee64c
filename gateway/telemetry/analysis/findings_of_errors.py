"""What a report says of calls that failed: how, where, and what may be changed."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.telemetry.analysis.failures import NO_RELEASE
from gateway.telemetry.analysis.finding import Finding
from gateway.telemetry.analysis.levers import INSTANCES, LIMITS, LIVE_TRITONS
from gateway.telemetry.analysis.summary import Failures, GroupSummary
from gateway.telemetry.analysis.writing import percent

_MOST_KINDS = 6


def errors(summary: GroupSummary) -> Iterator[Finding]:
    """Say how many calls failed, and where most of them did."""
    failed = sum(summary.errors.values())
    if not failed:
        return
    share = failed / (failed + summary.calls)
    how = ", ".join(
        f"{one.calls}× {one.code} {one.place}".rstrip() for one in summary.failures[:_MOST_KINDS]
    )
    steps = ", ".join(f"{count}× in step `{name}`" for name, count in summary.failed_steps.items())
    how += f"; {steps}" if steps else ""
    text = f"{percent(share)} of the calls failed ({how})"
    cause, setting = _cause(summary.failures[0])
    yield Finding("errors", 1.0, text + cause, setting, value=share)


def _cause(most: Failures) -> tuple[str, str]:
    """Return what the most frequent failure means, and the setting if there is one."""
    if most.code == "UNAVAILABLE":
        if most.place == NO_RELEASE:
            return ": no Triton had a release ready, or the gateway was stopping", LIVE_TRITONS
        return ": Triton did not answer, or had not loaded the release", LIVE_TRITONS
    if most.code == "DEADLINE_EXCEEDED":
        return ": the clients' deadlines are too short for them, or Triton is too slow", INSTANCES
    if most.code == "RESOURCE_EXHAUSTED":
        return ": they were over a limit, the error's text says which", LIMITS
    return "", ""
