"""The report of a recommender: one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from matplotlib.figure import Figure

from model_builder.html_page import document, listing, plain, svg, table
from model_builder.recsys.ease import LARGEST
from model_builder.recsys.evaluation import HEADLINE
from model_builder.recsys.fitting import Fitted
from model_builder.recsys.judging import THIS, Judged
from model_builder.recsys.segments import Segment
from model_builder.report import metric_text, stages_text
from model_builder.training.results import Epoch
from triton_models.release import DataSource, Metric, Stages

_WORDS = {
    "history": "By how many items a user had before",
    "item": "By how popular the item is that came next",
}


@dataclass(frozen=True)
class Shown:
    """What the page shows."""

    source: DataSource
    judged: Judged
    fitted: Fitted
    stages: Stages


def page(shown: Shown) -> bytes:
    """Return the page."""
    title = f"Recommendations from {shown.source.name}"
    judged = shown.judged
    parts = [
        f"<h1>{plain(title)}</h1><p>{plain(shown.source.protocol)}</p>",
        listing("What was found in the data", shown.source.findings),
        "<h2>How it learnt</h2>",
        _learning(shown.fitted.epochs),
        table(("setting", "value"), [(k, f"{v:g}") for k, v in asdict(shown.fitted.sizes).items()]),
        *(_measures(judged, split) for split in judged.metrics),
        _notes(judged),
        _both(shown.stages, judged),
        "<h2>For whom it works</h2><p>NDCG@10 of the test with 95 % intervals.</p>",
        *(_segments(judged.segments, kind) for kind in _WORDS),
    ]
    return document(title, parts)


def _learning(epochs: Sequence[Epoch]) -> str:
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots(1, 2)
    numbers = [epoch.number + 1 for epoch in epochs]
    axes[0].plot(numbers, [epoch.loss for epoch in epochs])
    axes[0].set(xlabel="epoch", title="Loss in training")
    axes[1].plot(numbers, [epoch.validation for epoch in epochs])
    best = max(epochs, key=lambda epoch: epoch.validation)
    axes[1].axvline(best.number + 1, color="grey", linewidth=1, label="kept")
    axes[1].set(xlabel="epoch", title="NDCG@10 of the validation split")
    axes[1].legend()
    return svg(figure)


def _measures(judged: Judged, split: str) -> str:
    measured = judged.metrics[split]
    names = [name for name in HEADLINE if name in measured]
    names += [name for name in measured if name not in names]
    rows = [
        (name, metric_text(measured[name]),
         *(metric_text(splits[split].get(name)) for splits in judged.baselines.values()))
        for name in names
    ]  # fmt: skip
    return f"<h2>Measured on {plain(split)}</h2>" + table(("", THIS, *judged.baselines), rows)


def _notes(judged: Judged) -> str:
    lines = [f"{name}: {chosen}" for name, chosen in judged.chosen.items() if chosen]
    parts = listing("What the validation split chose for the baselines", lines)
    if "ease" not in judged.baselines:
        parts += (
            f"<p>EASE was left out: it needs the square of users or items, whichever are fewer, "
            f"and both are more than {LARGEST:,}.</p>"
        )
    parts += f"<p>{plain(overlap(judged))}</p>"
    gains = [(name, metric_text(gain)) for name, gain in judged.gains.items()]
    parts += (
        "<p>All models are asked for the same users, so the difference that each user makes is "
        "surer than that of two intervals: NDCG@10 of the test above that of</p>"
    )
    return parts + table(("", "difference"), gains)


def overlap(judged: Judged) -> str:
    """Return whose interval of NDCG@10 of the test lies below, above or on this release's."""
    own = judged.metrics["test"]["ndcg@10"]
    others = {name: splits["test"]["ndcg@10"] for name, splits in judged.baselines.items()}
    above = [name for name, other in others.items() if own.low > other.high]
    below = [name for name, other in others.items() if own.high < other.low]
    rest = [name for name in others if name not in (*above, *below)]
    said = f"NDCG@10 of the test lies above that of {_listed(above)}"
    said += f" and below that of {', '.join(below)}" if below else ""
    said += ", with intervals that do not overlap."
    return said + (f" The intervals overlap with those of {', '.join(rest)}." if rest else "")


def _both(stages: Stages, judged: Judged) -> str:
    rows = [
        (split, name, metric_text(alone[name]), metric_text(judged.metrics[split][name]),
         f"{stages.found[split]:.1%}")
        for split, alone in stages.first_stage.items()
        for name in HEADLINE
    ]  # fmt: skip
    header = ("", "", "first stage alone", "both stages", "target on the shortlist")
    words = f"<p>{plain(stages_text(stages))}</p>"
    return "<h2>What each stage is worth</h2>" + words + table(header, rows)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "no baseline"


def _segments(parts: Sequence[Segment], kind: str) -> str:
    chosen = [part for part in parts if part.kind == kind]
    models = list(chosen[0].ndcg)
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    wide = 0.8 / len(models)
    for number, model in enumerate(models):
        values = [part.ndcg[model] for part in chosen]
        at = np.arange(len(chosen)) + (number - (len(models) - 1) / 2) * wide
        axes.bar(at, [v.value for v in values], wide, yerr=_ends(values), label=model)
    axes.set_xticks(range(len(chosen)), [part.name.replace(" of all", "") for part in chosen],
                    fontsize="small")  # fmt: skip
    axes.set(ylabel="NDCG@10")
    axes.legend(fontsize="small")
    rows = [
        (part.name, str(part.rows), *(metric_text(part.ndcg[model]) for model in models))
        for part in chosen
    ]
    return f"<h3>{_WORDS[kind]}</h3>" + svg(figure) + table(("", "users", *models), rows)


def _ends(metrics: Sequence[Metric]) -> list[list[float]]:
    """Return how far each interval reaches below and above."""
    return [[m.value - m.low for m in metrics], [m.high - m.value for m in metrics]]
