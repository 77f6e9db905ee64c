"""What a tuning has found, and the files that say so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial

from model_builder.task import TaskConfig
from model_builder.tuning.space import with_values
from model_builder.tuning.study import complete, defaults_value, finished

BEST_FILE = "best.yaml"
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Outcome:
    """What is known after the trials."""

    task: str
    data: str
    metric: str
    folder: Path
    defaults: float
    """The metric of the config that the trials started from."""
    best: FrozenTrial | None
    """``None`` if no trial is better than that config."""
    trials: tuple[FrozenTrial, ...]
    """Complete and stopped ones, in the order in which they began."""
    importance: Mapping[str, float]
    """Share of the metric's variance that each hyperparameter explains; empty if too few
    complete trials say so."""
    interrupted: bool

    @property
    def value(self) -> float:
        """The best metric."""
        return self.defaults if self.best is None else float(self.best.value or 0.0)

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "task": self.task,
            "data": self.data,
            "metric": self.metric,
            "defaults": self.defaults,
            "best": self.value,
            "best_trial": None if self.best is None else self.best.number,
            "params": {} if self.best is None else self.best.params,
            "config": str(self.folder / BEST_FILE),
            "report": str(self.folder / REPORT_FILE),
            "interrupted": self.interrupted,
            "importance": dict(self.importance),
            "trials": [
                {
                    "number": trial.number,
                    "state": trial.state.name.lower(),
                    "value": trial.value if trial.state.name == "COMPLETE" else None,
                    "epochs": len(trial.intermediate_values),
                    "params": trial.params,
                    "seconds": round(trial.duration.total_seconds(), 2) if trial.duration else None,
                }
                for trial in self.trials
            ],
        }


def outcome_of(
    study: optuna.Study,
    *,
    task: str,
    data: str,
    metric: str,
    folder: Path,
    interrupted: bool,
) -> Outcome:
    """Read the study; its defaults must have been measured."""
    defaults = defaults_value(study)
    assert defaults is not None
    ranked = complete(study)
    better = ranked[0] if ranked and float(ranked[0].value or 0.0) > defaults else None
    return Outcome(
        task=task,
        data=data,
        metric=metric,
        folder=folder,
        defaults=defaults,
        best=better,
        trials=tuple(finished(study)),
        importance=_importance(study),
        interrupted=interrupted,
    )


def write_best(outcome: Outcome, config: TaskConfig) -> Path:
    """Write the best config as a file that ``build --config`` takes; return its path.

    Args:
        outcome: What was found.
        config: What the trials started from.
    """
    found = config if outcome.best is None else with_values(config, outcome.best.params)
    values = found.model_dump(mode="json", exclude_defaults=True)
    origin = "what the trials started from; no trial was better"
    if outcome.best is not None:
        origin = f"trial {outcome.best.number}; what the trials started from had "
        origin += f"{outcome.defaults:.4f}"
    lines = [
        f"# {outcome.task} on {outcome.data}: {outcome.metric} {outcome.value:.4f} ({origin}).",
        f"# Written by model-builder tune at {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC.",
    ]
    path = outcome.folder / BEST_FILE
    path.write_text("\n".join(lines) + "\n" + yaml.safe_dump(values, sort_keys=False))
    return path


def _importance(study: optuna.Study) -> dict[str, float]:
    trials = complete(study)
    # Trials that all have one value, or one trial, say nothing of what made the difference.
    if len({trial.value for trial in trials}) < 2:
        return {}
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {key: float(share) for key, share in found.items()}
