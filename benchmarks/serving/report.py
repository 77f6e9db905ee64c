"""Shows a run: a table for each task, and what must be reached beside what was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.serving.bars import bars, shown
from benchmarks.serving.contenders import Contender, contenders
from benchmarks.serving.rounds import Results
from benchmarks.serving.summary import Summary
from benchmarks.serving.workloads import TASKS

_LOADS = (1, 16, 64)
_BEGIN, _END = "<!-- generated: serving -->", "<!-- /generated: serving -->"

Rows = list[list[str]]

HEADERS = [
    "", "1 in flight", "16", "64", "rows/s", "p50 at 1, ms", "p99 at 64, ms",
    "CPU µs a row: server + Triton", "MB a process",
]  # fmt: skip


def _summary(results: Results) -> Summary:
    return Summary(results.bursts, results.about.get("fresh_every"))


def table(results: Results, summary: Summary, task: str) -> tuple[Rows, list[str]]:
    """Return the rows of a task's table, and a line for each contender that is not in it."""
    rows, absent = [], []
    for contender in contenders():
        if task not in contender.in_flight:
            continue
        if contender.name in summary.contenders(task):
            rows.append(_row(summary, task, contender))
            continue
        why = results.skipped.get(task, {}).get(contender.name)
        if why:
            absent.append(f"{contender.label}: {' '.join(why.split())[:200]}")
    return rows, absent


def _row(summary: Summary, task: str, contender: Contender) -> list[str]:
    name = contender.name
    loads = contender.in_flight[task]
    own = {load: summary.ratio(task, (name, load), (contender.baseline, load)) for load in loads}
    if contender.form == "stream":  # Triton has no such thing; compared with its calls
        own = {64: summary.ratio(task, (name, 1), (contender.baseline, 64))}
    if contender.form == "batch":
        own = {64: own[4]}
    top = max(loads)
    cpu = [summary.median(task, name, top, f"{who}_cpu_us") for who in ("server", "triton")]
    resident = summary.within(task, name, top, lambda burst: max(burst["resident_mb"], default=0))
    is_gateway = contender.server.kind == "gateway" and not contender.server.embedded
    return [
        contender.label,
        *(shown(spread) if (spread := own.get(load)) else "" for load in _LOADS),
        _number(summary.median(task, name, top, "rows_per_s"), 1, 0),
        _number(summary.median(task, name, 1, "p50_us") if 1 in _unary(contender, task) else None,
                1e-3, 2),
        _number(summary.median(task, name, 64, "p99_us"), 1e-3, 1),
        _number(cpu[0], 1, 0) + (f" + {_number(cpu[1], 1, 0)}" if is_gateway else ""),
        _number(resident.median if resident else None, 1, 0),
    ]  # fmt: skip


def _unary(contender: Contender, task: str) -> Sequence[int]:
    return contender.in_flight[task] if contender.form == "unary" else ()


def _number(value: float | None, factor: float, digits: int) -> str:
    return "" if value is None else f"{factor * value:,.{digits}f}"


def faults(summary: Summary) -> list[str]:
    """Return what went wrong in bursts that do not count."""
    return [
        f"{task}, {name}, {load} in flight ({loop}): {'; '.join(texts[:2])[:300]}"
        for (task, name, loop, load), texts in summary.faults.items()
        if texts
    ]


def show(console: Console, results: Results) -> None:
    """Print everything for people."""
    summary = _summary(results)
    for name, task in TASKS.items():
        rows, absent = table(results, summary, name)
        if not rows:
            continue
        shown_table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=task.title)
        for place, header in enumerate(HEADERS):
            shown_table.add_column(header, justify="right" if place else "left")
        for row in rows:
            shown_table.add_row(*row)
        console.print(shown_table)
        for line in absent:
            console.print(f"  not run: {line}", markup=False)
    for line in faults(summary):
        console.print(f"  not counted: {line}", markup=False, style="red")
    _show_bars(console, summary, results.about.get("soak", {}))


def _show_bars(console: Console, summary: Summary, soak: Mapping[str, Any]) -> None:
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="What must be reached")
    for header in ("bar", "wanted", "measured", ""):
        found.add_column(header)
    unknown = 0
    for bar in bars(summary, soak):
        if bar.met is None:
            unknown += 1
        else:
            found.add_row(bar.what, bar.wanted, bar.measured, _verdict(bar.met))
    console.print(found)
    if unknown:
        console.print(f"  {unknown} bars were not measured in this run; see docs/performance.md")


def _verdict(met: bool | None) -> str:
    return {True: "met", False: "missed", None: "–"}[met]


def to_json(results: Results) -> str:
    """Return everything for programs."""
    summary = _summary(results)
    content: dict[str, Any] = {
        "about": results.about,
        "bursts": results.bursts,
        "skipped": results.skipped,
        "bars": [asdict(bar) for bar in bars(summary, results.about.get("soak", {}))],
    }
    return json.dumps(content, ensure_ascii=False, indent=1)


def to_markdown(results: Results, plot: str) -> str:
    """Return the part of ``docs/performance.md`` that a run makes."""
    summary = _summary(results)
    about = results.about
    parts = [
        f"Measured at commit `{about.get('commit')}`, {about.get('when')}, {about.get('cores')} "
        f"cores ({about.get('cpu')}), Python {about.get('python')}; medians of "
        f"{about.get('rounds')} rounds of {about.get('seconds')} s, with least and greatest.",
        f"![Inferences per second, as a ratio to direct Triton]({plot})",
    ]
    for name, task in TASKS.items():
        rows, absent = table(results, summary, name)
        if rows:
            parts += [f"#### {task.title}", _markdown(HEADERS, rows)]
        if absent:
            parts.append("Not run: " + "; ".join(absent) + ".")
    if found := faults(summary):
        parts.append("Not counted: " + "; ".join(found) + ".")
    rows = [
        [bar.what, bar.wanted, bar.measured, _verdict(bar.met)]
        for bar in bars(summary, about.get("soak", {}))
    ]
    parts += ["#### What must be reached", _markdown(["", "wanted", "measured", ""], rows)]
    return "\n\n".join(parts)


def _markdown(headers: Sequence[str], rows: Rows) -> str:
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |"
                     for line in lines)  # fmt: skip


def write_docs(page: Path, results: Results) -> None:
    """Write table and plot into a page, between its markers.

    Raises:
        ValueError: If the page has no markers.
    """
    from benchmarks.serving.plot import draw

    text = page.read_text()
    between = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.DOTALL)
    if not between.search(text):
        raise ValueError(f"{page}: has no {_BEGIN} … {_END}")
    plot = page.with_name("performance.svg")
    draw(_summary(results), plot)
    content = f"{_BEGIN}\n\n{to_markdown(results, plot.name)}\n\n{_END}"
    page.write_text(between.sub(lambda _: content, text))
