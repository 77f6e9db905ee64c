"""A report: every group's numbers and findings, and how it compares with others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gateway.telemetry.analysis.calls import Calls, GroupKey, find_calls
from gateway.telemetry.analysis.comparison import Comparison, compare
from gateway.telemetry.analysis.examples import Example, find_examples
from gateway.telemetry.analysis.finding import Finding
from gateway.telemetry.analysis.findings import find
from gateway.telemetry.analysis.forest import Forest
from gateway.telemetry.analysis.loading import Damage, load
from gateway.telemetry.analysis.steps import step_use
from gateway.telemetry.analysis.summary import GroupSummary, summarize


@dataclass(frozen=True)
class Clock:
    """A process whose clock does not agree with its caller's."""

    service: str
    spans: int
    ahead_ms: float
    """The median."""


@dataclass(frozen=True)
class GroupReport:
    """One RPC and release."""

    summary: GroupSummary
    findings: Sequence[Finding]
    examples: Sequence[Example] = ()
    """A typical call and a slow one, span by span."""


@dataclass(frozen=True)
class Report:
    """Everything there is to say of some traces."""

    files: Sequence[Path]
    spans: int
    calls: int
    damage: Damage
    orphans: int
    clocks: Sequence[Clock]
    groups: Sequence[GroupReport]
    comparisons: Sequence[Comparison] = field(default_factory=list)


@dataclass(frozen=True)
class Traces:
    """Traces that were read, ready to be looked at."""

    calls: Calls
    forest: Forest
    damage: Damage
    files: Sequence[Path]


def read(paths: Iterable[Path]) -> Traces:
    """Read traces and find the calls in them.

    Raises:
        NoTraces: If a file is not there.
    """
    table = load(paths)
    calls, forest = find_calls(table)
    return Traces(calls, forest, table.damage, table.files)


def build_report(traces: Traces, against: Traces | None = None) -> Report:
    """Return the report of traces, compared with others if there are some."""
    uses = step_use(traces.forest)
    groups = []
    for key, calls in traces.calls.groups():
        summary = summarize(key, calls, uses.get(f"{key.line}__{key.release}", ()))
        examples = find_examples(traces.forest, calls) if summary.calls else []
        groups.append(GroupReport(summary, find(summary), examples))
    return Report(
        files=traces.files,
        spans=len(traces.forest.spans),
        calls=len(traces.calls),
        damage=traces.damage,
        orphans=traces.forest.orphans,
        clocks=_clocks(traces.forest),
        groups=groups,
        comparisons=[
            *(compare_sets(against, traces) if against is not None else ()),
            *compare_within(traces),
        ],
    )


def compare_sets(before: Traces, after: Traces) -> list[Comparison]:
    """Compare the calls of each RPC in two sets.

    A release is compared with itself if both sets have it, else with whatever answered before.
    """
    found = []
    ones, twos = (list(some.calls.groups()) for some in (before, after))
    for key, calls in twos:
        same = [one for one in ones if (one[0].rpc, one[0].line) == (key.rpc, key.line)]
        release = [one for one in same if one[0].release == key.release]
        exact = [one for one in release if one[0].variant == key.variant]
        for other, others in exact or release or same:
            found.append(
                compare(_title(key), (_name(other, key, "before"), others),
                        (_name(key, other, "after"), calls))
            )  # fmt: skip
    return found


def compare_within(traces: Traces) -> list[Comparison]:
    """Compare the release that answers most calls of an RPC with the others: its canaries."""
    by_rpc: dict[tuple[str, str], list[tuple[GroupKey, Calls]]] = {}
    for key, calls in traces.calls.groups():
        by_rpc.setdefault((key.rpc, key.line), []).append((key, calls))
    found = []
    for groups in by_rpc.values():
        stable, *others = sorted(groups, key=lambda one: -len(one[1]))
        for other in others if stable[0].line else ():
            names = [_own_name(one[0], two[0]) for one, two in ((stable, other), (other, stable))]
            found.append(
                compare(_title(stable[0]), (names[0], stable[1]), (names[1], other[1]))
            )  # fmt: skip
    return found


def releases_of(traces: Traces) -> dict[str, list[str]]:
    """Return the releases that answered calls, by line."""
    found: dict[str, list[str]] = {}
    for key, _ in traces.calls.groups():
        if key.release and key.release not in found.setdefault(key.line, []):
            found[key.line].append(key.release)
    return found


def compare_releases(traces: Traces, before: str, after: str) -> list[Comparison]:
    """Compare two releases in one set: a stable one and a canary."""
    groups = list(traces.calls.groups())
    return [
        compare(_title(key), (other.release, others), (key.release, calls))
        for key, calls in groups
        if key.release == after
        for other, others in groups
        if (other.rpc, other.line, other.release) == (key.rpc, key.line, before)
    ]


def _title(key: GroupKey) -> str:
    return f"{key.rpc} ({key.line})" if key.line else key.rpc


def _name(key: GroupKey, other: GroupKey, word: str) -> str:
    same = (key.release, key.variant) == (other.release, other.variant)
    return word if same else f"{word} ({_own_name(key, other)})"


def _own_name(key: GroupKey, other: GroupKey) -> str:
    """Return what tells two groups of one RPC apart."""
    return key.release if key.release != other.release else f"{key.release} {key.variant}"


def _clocks(forest: Forest) -> list[Clock]:
    shift = forest.shift
    service = forest.spans["service"].to_numpy()
    moved = shift != 0
    return [
        Clock(str(name), int(np.count_nonzero(moved & (service == name))),
              float(-np.median(shift[moved & (service == name)]) / 1e6))
        for name in np.unique(service[moved].astype(str))
    ]  # fmt: skip


def as_json(content: Any) -> Any:
    """Return a report, or a part of it, as JSON has it: what is not a number becomes null."""
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        return {
            one.name: as_json(getattr(content, one.name)) for one in dataclasses.fields(content)
        }
    if isinstance(content, Mapping):
        return {str(key): as_json(value) for key, value in content.items()}
    if isinstance(content, str):
        return str(content)
    if isinstance(content, Sequence):
        return [as_json(one) for one in content]
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    return str(content) if isinstance(content, Path) else content
