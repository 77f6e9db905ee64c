"""The plots of a tuning, in one file that needs no network."""

from __future__ import annotations

import html

import optuna
from optuna import visualization

from model_builder.tuning.outcome import REPORT_FILE, Outcome


def write_report(outcome: Outcome, study: optuna.Study) -> None:
    """Write history, importance and learning curves as one self-contained HTML page."""
    metric = outcome.metric
    history = visualization.plot_optimization_history(study, target_name=metric)
    history.add_hline(y=outcome.defaults, line_dash="dot", annotation_text="started from")
    figures = [history]
    if outcome.importance:
        figures.append(
            visualization.plot_param_importances(
                study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
            )
        )
        figures.append(visualization.plot_slice(study, target_name=metric))
    if any(trial.intermediate_values for trial in outcome.trials):
        figures.append(visualization.plot_intermediate_values(study))
    parts = [
        # The first brings plotly along; the others use it.
        figure.to_html(full_html=False, include_plotlyjs=number == 0)
        for number, figure in enumerate(figures)
    ]
    title = html.escape(f"Tuning {outcome.task} on {outcome.data}")
    found = f"{metric} {outcome.value:.4f}, started from {outcome.defaults:.4f}"
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"</head><body><h1>{title}</h1><p>{html.escape(found)}</p>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    (outcome.folder / REPORT_FILE).write_text(page, encoding="utf-8")
