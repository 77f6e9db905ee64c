"""The report of a diagnosis: one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from model_builder.diagnosis.evaluation import SMALLEST_GROUP, Held, Judged, confusion
from model_builder.diagnosis.operating import told_apart
from model_builder.diagnosis.review import error_bound
from model_builder.html_page import document, listing, plain, svg, table
from model_builder.report import metric_text
from model_builder.task import Metrics
from triton_models.release import DataSource

_BINS = 10
_MOST_CURVES = 12


@dataclass(frozen=True)
class Shown:
    """What the page shows."""

    source: DataSource
    judged: Judged
    baselines: Mapping[str, Mapping[str, Metrics]]
    temperature: float
    notes: Sequence[str] = field(default_factory=tuple)
    """Sentences on how the release was made that only this kind of evidence has."""


def page(shown: Shown) -> bytes:
    """Return the page."""
    title = f"Diagnosis from {shown.source.name}"
    judged = shown.judged
    parts = [
        f"<h1>{plain(title)}</h1><p>{plain(shown.source.protocol)}</p>",
        listing("How it was made", shown.notes),
        listing("What was found in the data", shown.source.findings),
    ]
    for split, held in judged.held.items():
        parts += [
            f"<h2>{plain(split.capitalize())}: {len(held.target)} rows</h2>",
            _metrics(shown, split),
            _roc_plot(held, judged),
            _reliability_plot(held, shown.temperature),
            "<h3>Confusion</h3><p>Rows of a class (down) by the likeliest finding (across).</p>",
            _confusion(held, judged.labels),
            _review(held, judged.threshold),
            _groups(judged, split),
        ]
    parts.append(_points(judged))
    return document(title, parts)


def _metrics(shown: Shown, split: str) -> str:
    names = [name for name, splits in shown.baselines.items() if split in splits]
    rows = [
        (
            name,
            metric_text(metric),
            *(metric_text(shown.baselines[b][split].get(name)) for b in names),
        )
        for name, metric in shown.judged.metrics[split].items()
    ]
    said = (
        "With 95 % intervals from resampled rows. ece_by_chance is what ece would be, and between "
        "what it would lie, if every probability were exactly right: so few rows show no less."
    )
    return f"<p>{said}</p>" + table(("measure", "release", *names), rows)


def _roc_plot(held: Held, judged: Judged) -> str:
    figure = Figure(figsize=(5, 4.4), layout="constrained")
    axes = figure.subplots()
    for k in told_apart(judged.labels)[:_MOST_CURVES]:
        false, found = roc(held.target == k, held.probabilities[:, k])
        axes.plot(false, found, label=judged.labels[k])
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC")
    axes.legend()
    return svg(figure)


def roc(
    truth: npt.NDArray[np.bool_], score: npt.NDArray[np.floating[Any]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the curve: the share of false and of true positives at each threshold."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.diff(score[order]) != 0, True)  # rows that tie are taken together
    found = np.cumsum(truth[order])[ends] / max(1, truth.sum())
    false = np.cumsum(~truth[order])[ends] / max(1, (~truth).sum())
    return np.append(0.0, false), np.append(0.0, found)


def reliability(held: Held, bins: int = _BINS) -> list[tuple[float, float, int]]:
    """Return promised and kept by bin of equally many rows, surest last, with the rows."""
    promised = held.probabilities.max(axis=1)
    right = held.probabilities.argmax(axis=1) == held.target
    parts = np.array_split(np.argsort(promised, kind="stable"), min(bins, len(promised)))
    return [(float(promised[p].mean()), float(right[p].mean()), len(p)) for p in parts]


def _reliability_plot(held: Held, temperature: float) -> str:
    bins = reliability(held)
    figure = Figure(figsize=(5, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([p for p, _, _ in bins], [h for _, h, _ in bins], marker="o")
    low = min(min(p, h) for p, h, _ in bins)
    axes.plot([low, 1], [low, 1], color="grey", linewidth=1)
    axes.set(
        xlabel="promised", ylabel="right", title=f"Reliability (temperature {temperature:.3g})"
    )
    return svg(figure)


def _confusion(held: Held, labels: Sequence[str]) -> str:
    counts = confusion(held)
    rows = [(label, *map(str, row)) for label, row in zip(labels, counts.tolist(), strict=True)]
    return table(("", *labels), rows)


def _review(held: Held, threshold: float) -> str:
    surest = held.probabilities.max(axis=1)
    right = held.probabilities.argmax(axis=1) == held.target
    sure = surest >= threshold
    usual = np.ones(len(sure), np.bool_) if held.unusualness is None else held.unusualness <= 1
    rows = []
    for name, some in (
        ("answered", sure & usual),
        ("review: low confidence", ~sure),
        ("review: unusual evidence", ~usual),
    ):
        count, wrong = int(some.sum()), int((~right[some]).sum())
        share = f"{count / len(some):.1%}"
        rate = f"{wrong / count:.1%}" if count else "–"
        bound = f"{error_bound(wrong, count):.1%}" if count else "–"
        rows.append((name, str(count), share, str(wrong), rate, bound))
    header = ("", "rows", "share", "wrong", "error rate", "error rate below (95 %)")
    return (
        f"<h3>Review</h3><p>Below a probability of {threshold:.4f} of the likeliest finding, or "
        "unlike the training data, a person must look.</p>" + table(header, rows)
    )


def _groups(judged: Judged, split: str) -> str:
    groups = judged.groups[split]
    if not groups:
        return ""
    held = judged.held[split]
    assert held.groups is not None
    # One of them may have nothing to measure an AUC by: that hides no other's.
    names = list(dict.fromkeys(name for measures in groups.values() for name in measures))
    rows = [
        (
            group,
            str(int(np.count_nonzero(held.groups == group))),
            *(metric_text(measures.get(name)) for name in names),
        )
        for group, measures in groups.items()
    ]
    rows += [
        (group, str(count), *(f"fewer than {SMALLEST_GROUP}" for _ in names))
        for group, count in zip(*np.unique(held.groups, return_counts=True), strict=True)
        if str(group) not in groups
    ]
    return "<h3>Subgroups</h3>" + table(("subgroup", "rows", *names), rows)


def _points(judged: Judged) -> str:
    first, *others = judged.held
    last = others[-1] if others else first
    rows = []
    for point in judged.points:
        values = [
            metric_text(judged.metrics[split].get(f"{what}[{point.label}] at {point.name}"))
            for split in dict.fromkeys((first, last))
            for what in ("sensitivity", "specificity")
        ]
        rows.append((point.label, point.name, f"{point.threshold:.4f}", *values))
    header = [
        f"{what}, {split}"
        for split in dict.fromkeys((first, last))
        for what in ("sensitivity", "specificity")
    ]
    return (
        f"<h2>Operating points</h2><p>Thresholds that the {plain(first)} rows chose.</p>"
        + table(("finding", "point", "threshold", *header), rows)
    )
