"""The plots of the page, as SVG: hand-made, so that the page is small and needs no library.

Colours are CSS variables and classes, so that a plot follows the page from light to dark. What a
person points at says what it is: the attribute ``data-tip``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from markupsafe import Markup

from gateway.telemetry.analysis.batching import BatchEffect
from gateway.telemetry.analysis.comparison import Comparison
from gateway.telemetry.analysis.examples import Example
from gateway.telemetry.analysis.summary import GroupSummary, StageBudget
from gateway.telemetry.analysis.timeline import Timeline
from gateway.telemetry.analysis.writing import milliseconds

_TOP = 18
"""Above a plot: room for what stands at its highest point."""
_HUES = {"service": 158, "queue": 12, "transport": 212, "overhead": 44}


def colour(stage: StageBudget, stages: Sequence[StageBudget]) -> str:
    """Return a stage's colour: the hue says its kind, the lightness which of that kind it is."""
    same = [one.key for one in stages if one.kind == stage.kind]
    lightness = 38 + 34 * (same.index(stage.key) / max(1, len(same) - 1))
    return f"hsl({_HUES[stage.kind]} 62% {lightness:.0f}%)"


def budget_bars(summary: GroupSummary) -> Markup:
    """Draw a typical call above the slowest, on one axis, stage by stage."""
    width, left, bar, gap = 1120, 120, 42, 18
    rows = (
        ("typical call", summary.latency.typical_ms, [one.typical_ms for one in summary.stages]),
        ("mean", summary.latency.mean_ms, [one.mean_ms for one in summary.stages]),
        ("slowest 1 %", summary.latency.tail_ms, [one.tail_ms for one in summary.stages]),
    )
    longest = max(total for _, total, _ in rows) or 1.0
    scale = (width - left - 90) / longest
    parts: list[str] = []
    for place, (name, total, values) in enumerate(rows):
        y = 6 + place * (bar + gap)
        parts.append(_text(left - 10, y + bar / 2 + 5, name, "end"))
        x = float(left)
        for stage, value in zip(summary.stages, values, strict=True):
            size = value * scale
            if size < 0.2:
                x += size
                continue
            tip = f"{stage.label}: {milliseconds(value)} ms, {100 * value / max(total, 1e-9):.1f} %"
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{size:.2f}" height="{bar}" '
                f'fill="{colour(stage, summary.stages)}" data-tip="{_escaped(tip)}"/>'
            )
            if size > 8 * len(stage.label) * 0.82 + 8:
                parts.append(
                    f'<text x="{x + size / 2:.1f}" y="{y + bar / 2 + 4}" class="on">'
                    f"{_escaped(stage.label)}</text>"
                )
            x += size
        parts.append(_text(x + 8, y + bar / 2 + 5, f"{milliseconds(total)} ms", "start", "strong"))
    height = 6 + 3 * (bar + gap)
    return _svg(width, height, parts)


def small_bar(summary: GroupSummary) -> Markup:
    """Draw the shares of the kinds, for a table."""
    x, parts = 0.0, []
    for kind, share in summary.kinds.items():
        tip = f"{kind}: {100 * share:.0f} %"
        parts.append(
            f'<rect x="{x:.1f}" y="0" width="{200 * share:.1f}" height="12" '
            f'fill="hsl({_HUES[kind]} 62% 48%)" data-tip="{tip}"/>'
        )
        x += 200 * share
    return _svg(200, 12, parts, "small")


def percentile_curve(summary: GroupSummary) -> Markup:
    """Draw the latency at each percentile, the last ones spread out."""
    width, height, left, bottom = 560, 280, 52, 34
    points = [(p, ms) for p, ms in summary.percentiles if ms > 0]
    if len(points) < 2:
        return Markup("")
    nines = [-math.log10(max(1 - p / 100, 1e-9)) for p, _ in points]
    most = max(nines) or 1.0
    low, high = min(ms for _, ms in points), max(ms for _, ms in points)
    axis = _Log(low * 0.9, high * 1.1, height - bottom, _TOP)
    x_of = [left + (width - left - 14) * one / most for one in nines]
    parts = list(_rows_of(axis, left, width))
    for percent in (50.0, 90.0, 99.0, 99.9, 99.99):
        nine = -math.log10(1 - percent / 100)
        if nine <= most:
            x = left + (width - left - 14) * nine / most
            parts.append(_line(x, _TOP, x, height - bottom, "grid"))
            parts.append(_text(x, height - 12, f"p{percent:g}", "middle"))
    path = " ".join(f"{x:.1f},{axis(ms):.1f}" for x, (_, ms) in zip(x_of, points, strict=True))
    parts.append(f'<polyline points="{path}" class="curve"/>')
    for x, (percent, ms) in zip(x_of, points, strict=True):
        tip = f"p{percent:.4g}: {milliseconds(ms)} ms"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{axis(ms):.1f}" r="7" class="hit" data-tip="{tip}"/>'
        )
    return _svg(width, height, parts)


def heat_map(line: Timeline) -> Markup:
    """Draw calls by time and latency, with p50 and p99 over it."""
    width, height, left, bottom = 560, 280, 52, 34
    axis = _Log(line.edges_ms[0], line.edges_ms[-1], height - bottom, _TOP)
    columns = len(line.p50_ms)
    step = (width - left - 14) / columns
    most = max(max(row) for row in line.counts)
    parts: list[str] = []
    for place, row in enumerate(line.counts):
        low, high = line.edges_ms[place], line.edges_ms[place + 1]
        y, size = axis(high), axis(low) - axis(high)
        for column, count in enumerate(row):
            if count:
                share = math.log1p(count) / math.log1p(most)
                tip = (
                    f"{column * line.column_s:.1f} s: {count} calls of "
                    f"{milliseconds(low)} to {milliseconds(high)} ms"
                )
                parts.append(
                    f'<rect x="{left + column * step:.1f}" y="{y:.1f}" width="{step + 0.3:.1f}" '
                    f'height="{size + 0.3:.1f}" class="heat" '
                    f'fill-opacity="{0.12 + 0.8 * share:.2f}" data-tip="{tip}"/>'
                )
    parts += _rows_of(axis, left, width)
    for values, name in ((line.p50_ms, "p50"), (line.p99_ms, "p99")):
        known = [(left + (place + 0.5) * step, axis(ms)) for place, ms in enumerate(values)
                 if not math.isnan(ms)]  # fmt: skip
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in known)
        parts.append(f'<polyline points="{path}" class="{name}"/>')
        if known:
            high = name == "p99"
            x, y = (min if high else max)(known, key=lambda one: one[1])
            parts.append(_text(x, y + (-6 if high else 16), name, "middle", "strong"))
    whole = columns * line.column_s
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + (width - left - 14) * share
        anchor = "start" if not share else "end" if share == 1 else "middle"
        parts.append(_text(x, height - 12, f"{whole * share:.3g} s", anchor))
    return _svg(width, height, parts)


def batch_chart(effect: BatchEffect) -> Markup:
    """Draw what the model takes by the number of rows, and what calls wait to travel together."""
    width, height, left, bottom = 560, 280, 52, 34
    sizes = effect.sizes
    high = max(max(s.compute_ms + s.wait_ms for s in sizes), 1e-3) * 1.1
    axis = _Linear(high, height - bottom, _TOP)
    step = (width - left - 14) / len(sizes)
    parts = list(_rows_of(axis, left, width))
    for place, one in enumerate(sizes):
        x = left + place * step + step * 0.15
        tip = (
            f"{one.rows} rows, {one.calls} calls: model {milliseconds(one.compute_ms)} ms "
            f"({one.compute_per_row_ms:.3f} a row), wait {milliseconds(one.wait_ms)} ms, "
            f"whole {milliseconds(one.total_ms)} ms"
        )
        for value, base, kind in ((one.compute_ms, 0.0, "service"),
                                  (one.wait_ms, one.compute_ms, "queue")):  # fmt: skip
            y, bottom_y = axis(base + value), axis(base)
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{step * 0.7:.1f}" '
                f'height="{max(0.0, bottom_y - y):.1f}" fill="hsl({_HUES[kind]} 62% 48%)" '
                f'data-tip="{tip}"/>'
            )
        if len(sizes) <= 12 or place % 3 == 0:
            parts.append(_text(x + step * 0.35, height - 12, str(one.rows), "middle"))
    return _svg(width, height, parts)


def waterfall(example: Example) -> Markup:
    """Draw a call span by span."""
    row, width, left = 21, 560, 176
    parts: list[str] = []
    scale = (width - left - 60) / max(example.ms, 1e-9)
    services = list(dict.fromkeys(one.service for one in example.spans))
    for place, one in enumerate(example.spans):
        y = 4 + place * row
        name = one.name if len(one.name) < 24 - one.depth else one.name[: 22 - one.depth] + "…"
        parts.append(_text(4 + 9 * one.depth, y + 14, name, "start"))
        begin = left + max(0.0, one.begin_ms) * scale
        size = max(1.0, (min(one.end_ms, example.ms) - max(one.begin_ms, 0.0)) * scale)
        took, since = milliseconds(one.end_ms - one.begin_ms), milliseconds(max(one.begin_ms, 0.0))
        tip = f"{one.name} ({one.service}): {took} ms from {since}"
        hue = (212, 262, 158, 318, 44)[services.index(one.service) % 5]
        waits = one.name in ("queue", "batch")
        fill = f"hsl({_HUES['queue']} 62% 55%)" if waits else f"hsl({hue} 48% 52%)"
        parts.append(
            f'<rect x="{begin:.1f}" y="{y + 3}" width="{size:.1f}" height="{row - 6}" rx="2" '
            f'fill="{fill}" data-tip="{_escaped(tip)}"/>'
        )
        if one.queued_ms * scale > 1:
            parts.append(
                f'<rect x="{begin:.1f}" y="{y + 3}" width="{one.queued_ms * scale:.1f}" '
                f'height="{row - 6}" rx="2" fill="hsl({_HUES["queue"]} 62% 55%)" '
                f'data-tip="queue of {_escaped(one.name)}: {milliseconds(one.queued_ms)} ms"/>'
            )
        parts.append(_text(min(begin + size + 5, width - 44), y + 14,
                           milliseconds(one.end_ms - one.begin_ms), "start", "quiet"))  # fmt: skip
    return _svg(width, 8 + row * len(example.spans), parts)


def intervals(comparison: Comparison) -> Markup:
    """Draw the difference of each stage with its interval; right of zero is slower."""
    if comparison.total is None:
        return Markup("")
    shown = [comparison.total, *comparison.stages[:14]]
    row, width, left = 26, 1120, 220
    reach = max(max(abs(c.mean.low), abs(c.mean.high), abs(c.mean.difference)) for c in shown)
    reach = max(reach, 1e-6) * 1.1
    middle = left + (width - left - 190) / 2
    scale = (width - left - 190) / 2 / reach
    parts = [_line(middle, 0, middle, row * len(shown) + 4, "zero")]
    for place, one in enumerate(shown):
        y = place * row + row / 2 + 2
        change = one.mean
        kind = "same" if not change.is_real else "worse" if change.difference > 0 else "better"
        tip = (
            f"{one.label}: {change.before:.3f} → {change.after:.3f} ms, difference "
            f"{change.difference:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
        )
        parts.append(_text(left - 10, y + 4, one.label, "end", "strong" if not place else ""))
        x = [middle + value * scale for value in (change.low, change.difference, change.high)]
        parts.append(_line(x[0], y, x[2], y, kind))
        parts.append(
            f'<circle cx="{x[1]:.1f}" cy="{y:.1f}" r="5" class="{kind}" '
            f'data-tip="{_escaped(tip)}"/>'
        )
        text = f"{change.before:.2f} → {change.after:.2f}  ({change.difference:+.2f} ms)"
        parts.append(_text(width - 4, y + 4, text, "end", "quiet"))
    return _svg(width, row * len(shown) + 8, parts)


class _Log:
    """A logarithmic axis from the bottom up."""

    def __init__(self, low: float, high: float, bottom: float, top: float) -> None:
        self.low, self.high = max(low, 1e-6), max(high, low * 1.01, 1e-5)
        self._bottom, self._top = bottom, top
        self._size = math.log(self.high / self.low)

    def __call__(self, value: float) -> float:
        share = math.log(max(value, self.low) / self.low) / self._size
        return self._bottom - (self._bottom - self._top) * share

    def ticks(self) -> Iterator[float]:
        """Give round numbers that lie on it."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        decades = math.log10(self.high / self.low)
        factors: tuple[float, ...] = (1, 2, 5) if decades < 2.5 else (1,)
        if decades < 0.5:
            factors = (1, 1.5, 2, 3, 4, 5, 6, 7, 8)
        for value in (factor * 10.0**power for power in powers for factor in factors):
            if self.low <= value <= self.high:
                yield value


class _Linear:
    """A linear axis from zero at the bottom up."""

    def __init__(self, high: float, bottom: float, top: float) -> None:
        self.high = high
        self._bottom, self._top = bottom, top

    def __call__(self, value: float) -> float:
        return self._bottom - (self._bottom - self._top) * value / self.high

    def ticks(self) -> Iterator[float]:
        """Give round numbers that lie on it."""
        step = 10.0 ** math.floor(math.log10(self.high))
        while self.high / step < 4:
            step /= 2
        value = 0.0
        while value <= self.high:
            yield value
            value += step


def _rows_of(axis: _Log | _Linear, left: float, width: float) -> Iterator[str]:
    for value in axis.ticks():
        y = axis(value)
        yield _line(left, y, width - 14, y, "grid")
        yield _text(left - 6, y + 4, f"{value:g}", "end")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    said = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{said}>{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    return str(Markup.escape(text))


def _svg(width: float, height: float, parts: Iterable[str], kind: str = "") -> Markup:
    said = f' class="{kind}"' if kind else ""
    inside = "".join(parts)
    return Markup(f'<svg viewBox="0 0 {width:.0f} {height:.0f}"{said} role="img">{inside}</svg>')
