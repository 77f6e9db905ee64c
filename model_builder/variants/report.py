"""What was found of a release's variants: a table for the terminal, and a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from rich.table import Table

from model_builder.evaluation.gate import LOWER_IS_BETTER
from model_builder.html_page import document, listing, plain, svg, table
from model_builder.report import metric_text
from model_builder.variants.choosing import front, gain
from model_builder.variants.machine import Machine
from model_builder.variants.timing import BATCHES, Timed
from model_builder.variants.trying import Tried
from triton_models.release import Manifest


@dataclass(frozen=True)
class Shown:
    """All that is shown."""

    parent: Manifest
    parent_bytes: int
    machine: Machine
    found: Sequence[Tried]
    left_out: Mapping[str, str]
    """Why others were not measured."""
    chosen: str | None
    metric: str
    """That is drawn."""

    @property
    def front(self) -> set[str]:
        """The variants that no other one beats."""
        lower = self.metric in LOWER_IS_BETTER
        return front(self.found, self.metric, lower_is_better=lower)


HEADER = (
    "variant",
    *(f"core, batch {rows}" for rows in BATCHES),
    *(f"served, batch {rows}" for rows in BATCHES),
    "rows/s",
    "size",
    "metric",
    "",
)


def terminal_tables(shown: Shown) -> Iterator[Table]:
    """Give two tables of the variants, the fastest last: how they compare, and their times.

    Each fits a hundred columns or so; a page shows all of it at once.
    """
    batches = [
        f"{what} {rows}" if place == 0 else f"{rows}"
        for what in ("core", "served")
        for place, rows in enumerate(BATCHES)
    ]
    compared = _table("Times as fast as the parent, by rows of a batch")
    compared.add_column("variant", overflow="fold")
    for name in (*batches, "size"):
        compared.add_column(name, no_wrap=True)
    compared.add_column(shown.metric, min_width=len("[0.1234,"))
    compared.add_column("", no_wrap=True)
    times = _table("Milliseconds, median and 99th percentile")
    for name in ("variant", *batches, "rows/s"):
        times.add_column(name, no_wrap=name == "variant")
    if shown.found:
        first = shown.found[0].parent_timed
        metric = metric_text(shown.parent.metrics["test"].get(shown.metric))
        compared.add_row("(parent)", *["1"] * len(batches), _size(shown.parent_bytes), metric, "")
        times.add_row("(parent)", *_milliseconds(first), f"{first.rows_per_second:,.0f}")
    for tried in sorted(shown.found, key=gain):
        ratios = [
            f"{tried.faster(rows, what):.2f}" for what in ("core", "fused") for rows in BATCHES
        ]
        metric = metric_text(tried.metrics.get(shown.metric))
        compared.add_row(
            tried.variant, *ratios, _size(tried.size_bytes), metric, _remark(tried, shown)
        )
        times.add_row(
            tried.variant, *_milliseconds(tried.timed), f"{tried.timed.rows_per_second:,.0f}"
        )
    yield compared
    yield times


def refusals(shown: Shown) -> Iterator[str]:
    """Say of each variant that was measured and refused why it was."""
    for tried in shown.found:
        why = [f"{one.name}: {one.found}, wanted {one.wanted}"
               for one in tried.checks if not one.passed]  # fmt: skip
        if why:
            yield f"{tried.variant}: refused: {'; '.join(why)}"


def left_out(shown: Shown) -> Iterator[str]:
    """Say of variants that were not measured why not, of those with the same reason together."""
    names: dict[str, list[str]] = {}
    for variant, why in shown.left_out.items():
        names.setdefault(why, []).append(variant)
    for why, variants in names.items():
        yield f"{', '.join(variants)}: {why}"


def _table(title: str) -> Table:
    return Table(
        box=None, pad_edge=False, header_style="bold", title=title, title_justify="left",
        title_style="dim",
    )  # fmt: skip


def _milliseconds(timed: Timed) -> Iterator[str]:
    for times in (*timed.core.values(), *timed.fused.values()):
        yield f"{times.p50_ms:.3g} ({times.p99_ms:.3g})"


def _remark(tried: Tried, shown: Shown) -> str:
    words = [
        "" if tried.passed else "refused",
        "*" if tried.variant in shown.front else "",
        "chosen" if tried.variant == shown.chosen else "",
    ]
    return " ".join(filter(None, words))


def page(shown: Shown) -> bytes:
    """Return the page."""
    name = f"{shown.parent.line}/{shown.parent.release}"
    title = f"Variants of {name}"
    machine = shown.machine
    parts = [
        f"<h1>{plain(title)}</h1>",
        f"<p>On {plain(machine.processor)}, {machine.cores} cores "
        f"({plain(', '.join(machine.flags)) or 'its flags are not told'}). Times are medians (and "
        "99th percentiles) in milliseconds, variant and parent taking turns on one Triton. "
        "<em>core</em>: Triton's compute of the ensemble's core steps; <em>served</em>: the fused "
        "model as a client sees it. In brackets: how many times as fast as the parent. "
        "Stars: no other variant is faster, better and smaller.</p>",
        _plot(shown),
        table((*HEADER[:-2], shown.metric, ""), list(_rows(shown))),
        listing("Left out", [f"{one}: {why}" for one, why in shown.left_out.items()]),
        "<h2>Checks</h2>",
        table(
            ("variant", "check", "wanted", "found", ""),
            [
                (tried.variant, one.name, one.wanted, one.found, "" if one.passed else "refused")
                for tried in shown.found
                for one in tried.checks
            ],
        ),
    ]
    return document(title, parts)


def _rows(shown: Shown) -> Iterator[tuple[str, ...]]:
    parent = shown.parent
    if shown.found:
        first = shown.found[0].parent_timed
        core = [f"{first.core[rows].p50_ms:.3g}" for rows in first.core]
        served = [f"{first.fused[rows].p50_ms:.3g}" for rows in first.fused]
        metric = parent.metrics["test"].get(shown.metric)
        yield ("(parent)", *core, *served, f"{first.rows_per_second:,.0f}",
               _size(shown.parent_bytes), metric_text(metric), "")  # fmt: skip
    for tried in sorted(shown.found, key=gain):
        yield (
            tried.variant,
            *_times(tried, "core"),
            *_times(tried, "fused"),
            f"{tried.timed.rows_per_second:,.0f}",
            _size(tried.size_bytes),
            metric_text(tried.metrics.get(shown.metric)),
            _remark(tried, shown),
        )


def _times(tried: Tried, what: str) -> Iterator[str]:
    for rows, times in getattr(tried.timed, what).items():
        yield f"{times.p50_ms:.3g} ({times.p99_ms:.3g}) {tried.faster(rows, what):.2f}x"


def _plot(shown: Shown) -> str:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    parent = shown.parent.metrics["test"].get(shown.metric)
    if parent is not None:
        axes.axhspan(parent.low, parent.high, color="0.92", label="the parent's interval")
        axes.plot([1.0], [parent.value], "k^", label="parent")
    for tried in shown.found:
        metric = tried.metrics[shown.metric]
        best = tried.variant in shown.front
        axes.errorbar(
            [gain(tried)],
            [metric.value],
            yerr=[[metric.value - metric.low], [metric.high - metric.value]],
            fmt="o" if best else "x",
            capsize=3,
        )
        axes.annotate(
            tried.variant, (gain(tried), metric.value), textcoords="offset points", xytext=(6, 4),
            fontsize=8,
        )  # fmt: skip
    axes.set(xlabel="times as fast as the parent, as served", ylabel=shown.metric)
    axes.legend(fontsize=8)
    return svg(figure)


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB"
