"""Draws a run: inferences per second, as a ratio to direct Triton."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.serving.contenders import Contender, contenders
from benchmarks.serving.summary import Summary
from benchmarks.serving.workloads import TASKS

_COLOURS = {"triton": "#7f7f7f", "echo": "#c7c7c7", "gateway": "#1f77b4", "peer": "#d9a066"}
_LOADS = (1, 16, 64)


def draw(summary: Summary, path: Path) -> None:
    """Write an SVG: a row of panels for each task, a panel for each load."""
    tasks = [name for name in TASKS if summary.contenders(name)]
    mpl.rcParams["svg.hashsalt"] = "trident"  # the same run gives the same file
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(11, 3.6 * len(tasks)), layout="constrained")
    axes = figure.subplots(len(tasks), len(_LOADS), squeeze=False)
    for row, task in enumerate(tasks):
        shown = [one for one in contenders() if _is_shown(summary, task, one)]
        for place, load in enumerate(_LOADS):
            _panel(axes[row][place], summary, task, load, shown)
            if place:
                axes[row][place].set_yticklabels([])
        axes[row][0].set_title(f"{TASKS[task].title}\n1 in flight", loc="left", fontsize=9)
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def _is_shown(summary: Summary, task: str, contender: Contender) -> bool:
    """Leave out what has no unary numbers, and the cost of tracing: it is in the table."""
    return (
        contender.form == "unary"
        and not contender.server.sampling
        and contender.name in summary.contenders(task)
    )


def _panel(
    axes: Axes, summary: Summary, task: str, load: int, contenders_: list[Contender]
) -> None:
    for place, contender in enumerate(contenders_):
        spread = summary.ratio(task, (contender.name, load), ("triton", load))
        if spread is None:
            continue
        axes.barh(
            place, spread.median, color=_COLOURS[contender.server.kind],
            xerr=[[spread.median - spread.low], [spread.high - spread.median]],
            error_kw={"elinewidth": 0.8, "ecolor": "#333333"},
        )  # fmt: skip
        axes.text(spread.high, place, f" {spread.median:.2f}", va="center", fontsize=7)
    axes.axvline(1, color="#333333", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(contenders_)), [one.label for one in contenders_], fontsize=7)
    axes.set_ylim(len(contenders_) - 0.4, -0.6)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.12)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{load} in flight", loc="left", fontsize=9)
