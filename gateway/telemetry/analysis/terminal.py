"""A report and a comparison for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway.telemetry.analysis.comparison import Change, Comparison
from gateway.telemetry.analysis.finding import Finding
from gateway.telemetry.analysis.report import GroupReport, Report
from gateway.telemetry.analysis.summary import GroupSummary
from gateway.telemetry.analysis.writing import milliseconds as ms

_SMALL = 0.005
"""Stages below this share, of all calls and of the slowest, are shown as one line."""
_BAR = 10
_COLOURS = {"service": "green", "queue": "red", "transport": "blue", "overhead": "yellow"}
_MOST_STAGES_COMPARED = 8


def print_report(report: Report, console: Console) -> None:
    """Print everything."""
    for line in said_of_input(report):
        console.print(Text(line, style="dim"))
    if not report.calls:
        console.print("No call that was served is in these traces.")
    for group in report.groups:
        console.print()
        _print_group(group, console)
    print_comparisons(report.comparisons, console)


def said_of_input(report: Report) -> Iterator[str]:
    """Give what was read, and what could not be."""
    files = ", ".join(map(str, report.files))
    yield f"{report.spans:,} spans, {report.calls:,} calls in {files}"
    damage = report.damage
    if damage.lines or damage.spans:
        yield f"Could not be read: {damage.lines} lines, {damage.spans} spans of others"
        for text in damage.named[:5]:
            yield f"  {text}"
        if (more := damage.lines + damage.spans - 5) > 0:
            yield f"  … and {more} more"
    if report.orphans:
        yield f"{report.orphans:,} spans have a parent that is not here"
    for clock in report.clocks:
        yield (
            f"The clock of {clock.service} is {abs(clock.ahead_ms):.2f} ms "
            f"{'ahead' if clock.ahead_ms > 0 else 'behind'}: {clock.spans:,} spans were moved"
        )


def _print_group(group: GroupReport, console: Console) -> None:
    summary = group.summary
    console.print(Text(summary.key.title, style="bold"))
    for line in headline(summary):
        console.print(Text(line))
    if summary.stages:
        console.print(_stages(summary))
    print_findings(group.findings, console)


def headline(summary: GroupSummary) -> Iterator[str]:
    """Give the latency and the kinds of a group in two lines."""
    latency = summary.latency
    yield (
        f"{summary.calls:,} calls, {summary.rate:.1f}/s traced; "
        f"p50 {ms(latency.p50_ms)}  "
        f"p95 {ms(latency.p95_ms)}  p99 {ms(latency.p99_ms)}  max {ms(latency.max_ms)} ms"
    )
    if summary.calls:
        yield "  ".join(f"{kind} {100 * share:.0f} %" for kind, share in summary.kinds.items())


def _stages(summary: GroupSummary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("stage", overflow="ellipsis", no_wrap=True, max_width=26)
    for name in ("share", "", "p50", "p95", "p99", "slowest 1 %"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    small = [one for one in summary.stages if one.share < _SMALL and one.tail_share < _SMALL]
    for one in summary.stages:
        if one in small:
            continue
        colour = _COLOURS[one.kind]
        table.add_row(
            Text(one.label),
            f"{100 * one.share:.1f} %",
            Text("█" * max(1, round(_BAR * one.share)), style=colour),
            ms(one.p50_ms),
            ms(one.p95_ms),
            ms(one.p99_ms),
            ms(one.tail_ms),
        )
    if small:
        share = 100 * sum(one.share for one in small)
        tail = sum(one.tail_ms for one in small)
        table.add_row(Text(f"{len(small)} small stages", style="dim"), f"{share:.1f} %", "", "",
                      "", "", ms(tail))  # fmt: skip
    latency = summary.latency
    table.add_section()
    table.add_row("whole call", "100 %", "", ms(latency.p50_ms), ms(latency.p95_ms),
                  ms(latency.p99_ms), ms(latency.tail_ms))  # fmt: skip
    return table


def print_findings(findings: Iterable[Finding], console: Console) -> None:
    """Print findings, each with what to change."""
    for finding in findings:
        text = Text("• ").append(finding.text)
        console.print(Padding(text, (0, 0, 0, 0)))
        if finding.setting:
            console.print(Padding(Text(f"→ {finding.setting}", style="cyan"), (0, 0, 0, 4)))


def print_comparisons(comparisons: Iterable[Comparison], console: Console) -> None:
    """Print how sets of calls differ."""
    for one in comparisons:
        console.print()
        counts = f"{one.before}: {one.before_calls:,} calls, {one.after}: {one.after_calls:,}"
        console.print(Text(one.title, style="bold"), Text(counts, style="dim"))
        console.print(Text(one.verdict))
        if one.total is None:
            continue
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("mean ms", no_wrap=True, max_width=26)
        for name in ("before", "after", "difference", "95 % interval"):
            table.add_column(name, justify="right", no_wrap=True)
        for change in (one.total, *one.stages[:_MOST_STAGES_COMPARED]):
            table.add_row(Text(change.label), *_cells(change.mean), style=_style(change.mean))
        for name, whole in (("p50", one.total.p50), ("p99", one.total.p99)):
            table.add_row(f"whole call, {name}", *_cells(whole), style=_style(whole))
        console.print(table)


def _cells(change: Change) -> tuple[str, ...]:
    interval = f"{change.low:+.3f} to {change.high:+.3f}"
    return (f"{change.before:.3f}", f"{change.after:.3f}", f"{change.difference:+.3f}", interval)


def _style(change: Change) -> str:
    if not change.is_real:
        return "dim"
    return "red" if change.difference > 0 else "green"
