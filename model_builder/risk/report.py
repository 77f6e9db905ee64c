"""The report of a risk release: one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from model_builder.html_page import document, listing, plain, svg, table
from model_builder.report import (
    BAND_HEADER,
    FAIRNESS_HEADER,
    band_rows,
    cutoff_text,
    fairness_rows,
    metric_text,
)
from model_builder.risk.deciding import Decided
from model_builder.risk.deciles import Decile
from model_builder.task import Metrics
from triton_models.release import DataSource, GroupFairness


@dataclass(frozen=True)
class Shown:
    """What the page shows, of the rows that nothing has learnt from."""

    data: str
    split: str
    source: DataSource
    metrics: Mapping[str, Metrics]
    baselines: Mapping[str, Mapping[str, Metrics]]
    deciles: Sequence[Decile]
    decided: Decided
    scores: npt.NDArray[Any]
    target: npt.NDArray[np.int64]
    importance: Sequence[tuple[str, float]]
    """Mean size of each feature's contribution, largest first."""
    calibration: str


def page(shown: Shown) -> bytes:
    """Return the page."""
    title = f"Credit risk from {shown.data}"
    parts = [
        f"<h1>{plain(title)}</h1><p>{plain(shown.source.protocol)}</p>",
        listing("What was found in the data", shown.source.findings),
        *(_metrics(shown, split) for split in shown.metrics),
        f"<h2>Calibration and lift by decile ({plain(shown.split)})</h2>"
        f"<p>Calibrated by {plain(shown.calibration)}, chosen by held-out log-loss.</p>",
        _calibration_plot(shown.deciles),
        _deciles(shown.deciles),
        "<h2>Scores, bands and cut-off</h2>",
        _score_plot(shown),
        _bands(shown.decided),
        _fairness(shown.decided.fairness),
        "<h2>What moves the score</h2><p>Mean size of each feature's contribution to the "
        "log-odds, over the test rows.</p>",
        _importance_plot(shown.importance),
    ]
    return document(title, parts)


def _metrics(shown: Shown, split: str) -> str:
    names = list(shown.baselines)
    rows = [
        (name, metric_text(metric), *(
            metric_text(shown.baselines[b].get(split, {}).get(name)) for b in names
        ))
        for name, metric in shown.metrics[split].items()
    ]  # fmt: skip
    said = (
        "With 95 % intervals from resampled rows. ece_by_chance is what ece would be, and between "
        "what it would lie, if every probability were exactly right: so few rows show no less."
    )
    head = f"<h2>Measured on {plain(split)}</h2><p>{said}</p>"
    return head + table(("", "this release", *names), rows)


def _deciles(deciles: Sequence[Decile]) -> str:
    rows = [
        (
            str(number),
            str(each.rows),
            f"{each.promised:.4f}",
            metric_text(each.happened),
            metric_text(each.lift),
            f"{each.captured:.1%}",
        )
        for number, each in enumerate(deciles, start=1)
    ]
    return table(("riskiest", "rows", "promised", "happened", "lift", "defaults so far"), rows)


def _bands(decided: Decided) -> str:
    bands = table(BAND_HEADER, band_rows(decided.bands))
    return f"{bands}<p>{plain(cutoff_text(decided.cutoff))}</p>"


def _fairness(groups: Sequence[GroupFairness]) -> str:
    if not groups:
        return "<h2>Fairness</h2><p>No attribute is protected in the schema.</p>"
    return (
        "<h2>Fairness at the cut-off</h2><p>A ratio below 0.8 to the group approved most is "
        "commonly held to be adverse impact; approved of the paid is equal opportunity; promised "
        "beside happened is the calibration of the group.</p>"
        + table(FAIRNESS_HEADER, fairness_rows(groups))
    )


def _calibration_plot(deciles: Sequence[Decile]) -> str:
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    promised = [each.promised for each in deciles]
    axes[0].errorbar(promised, [d.happened.value for d in deciles], _ends(
        [d.happened for d in deciles]), fmt="o")  # fmt: skip
    top = max([*promised, *(d.happened.high for d in deciles)])
    axes[0].plot([0, top], [0, top], color="grey", linewidth=1)
    axes[0].set(xlabel="promised", ylabel="happened", title="Calibration")
    axes[1].errorbar(range(1, len(deciles) + 1), [d.lift.value for d in deciles], _ends(
        [d.lift for d in deciles]), fmt="o")  # fmt: skip
    axes[1].axhline(1, color="grey", linewidth=1)
    axes[1].set(xlabel="decile, riskiest first", title="Lift")
    return svg(figure)


def _ends(metrics: Sequence[Any]) -> list[list[float]]:
    return [[m.value - m.low for m in metrics], [m.high - m.value for m in metrics]]


def _score_plot(shown: Shown) -> str:
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for value, name in ((0, "paid"), (1, "default")):
        axes.hist(shown.scores[shown.target == value], 40, alpha=0.6, density=True, label=name)
    axes.axvline(shown.decided.cutoff.minimum_score, color="black", label="cut-off")
    for band in shown.decided.bands[:-1]:
        axes.axvline(band.minimum_score, color="grey", linewidth=0.7, linestyle="--")
    axes.set(xlabel="score", yticks=[])
    axes.legend()
    return svg(figure)


def _importance_plot(importance: Sequence[tuple[str, float]]) -> str:
    most = list(reversed(importance[:15]))
    figure = Figure(figsize=(7, 0.6 + 0.28 * len(most)), layout="constrained")
    axes = figure.subplots()
    axes.barh([name for name, _ in most], [size for _, size in most])
    return svg(figure)
