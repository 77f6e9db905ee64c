"""The task ``risk``: the probability that a credit is not paid back, from a table."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import logit

from model_builder.evaluation.risk_calibration import Calibration
from model_builder.export.variants import compare_variants
from model_builder.progress import Progress
from model_builder.proof.recorded import Recorded
from model_builder.risk.boosting import boosting_baseline
from model_builder.risk.calibrate_graph import calibrate_graph
from model_builder.risk.config import RiskConfig as RiskConfig
from model_builder.risk.deciding import decide
from model_builder.risk.deciles import deciles
from model_builder.risk.distributions import distributions
from model_builder.risk.fairness import EQUAL_OPPORTUNITY, equal_opportunity_difference
from model_builder.risk.judging import Judged, judged
from model_builder.risk.report import Shown, page
from model_builder.risk.score import Scorecard, shares_of_falls
from model_builder.tabular.evaluation import RISK_MEASURES, ece_by_chance, measure
from model_builder.tabular.fitting import fit_table
from model_builder.tabular.loading import load_table
from model_builder.tabular.model import TableModel, feature_rows
from model_builder.tabular.table import Table
from model_builder.tabular.targets import outcome_target
from model_builder.task import Candidate, Metrics, ResolvedData, StepModel, TaskConfig
from triton_models.signatures import SCORE_RISK

TOLERANCES = {
    "default_probability": 1e-5,
    "score": 0.01,  # points
    "contributions": 1e-4,  # log-odds
    "input_rules": 0.0,
}
"""How far the exported steps may be from torch, by output."""


class RiskTask:
    """Builds releases of the line ``score-risk``."""

    name: ClassVar[str] = "risk"
    summary: ClassVar[str] = "Scores the risk of a credit from a table of past ones."
    default_data: ClassVar[str] = "german-credit"
    config_type: ClassVar[type[TaskConfig]] = RiskConfig

    def build(self, data: ResolvedData, config: RiskConfig, progress: Progress) -> Candidate:
        """Train, evaluate and export.

        Raises:
            DataFault: If the data cannot be used.
            ParityBroken: If an exported step does not answer like torch.
        """
        with progress.stage("read"):
            table = load_table(data, outcome_target, progress, config.split_by, config.schema_file)
        fitted = fit_table(table, config, logits=1, progress=progress)
        return candidate(fitted, data, config, progress)


def candidate(
    fitted: TableModel, data: ResolvedData, config: RiskConfig, progress: Progress
) -> Candidate:
    """Measure a network, export it and compare.

    Raises:
        ParityBroken: If an exported step does not answer like the network.
    """
    held_out = judged(fitted, config.calibration)
    card = _scorecard(fitted, held_out.calibration, config)
    scores = card.scores_of(logit(held_out.probabilities))
    decided = decide(fitted, held_out.probabilities, scores, config)
    with progress.stage("evaluate"):
        answers = _test_answers(fitted, card)
        metrics = _metrics(fitted, held_out, answers, config)
        unequal = equal_opportunity_difference(decided.fairness)
        if unequal is not None:  # of the rows that chose the cut-off, as all that is fairness
            held = fitted.splits.judged_split
            metrics[held] = {**metrics[held], EQUAL_OPPORTUNITY: unequal}
        baselines = _baselines(fitted, config)
    tensors = fitted.test_tensors()
    tolerances = {n: t for n, t in fitted.own_tolerances.items() if n in TOLERANCES}
    with progress.stage("export"):
        steps = _steps(fitted, card)
    with progress.stage("compare"):
        parity, fused_parity = compare_variants(
            steps,
            SCORE_RISK,
            tensors,
            answers,
            {**TOLERANCES, **tolerances},
            compared=fitted.parity_kind,
        )
    source = fitted.data_source(data, config)
    with progress.stage("report"):
        report = page(
            Shown(
                data=data.name,
                split=fitted.splits.judged_split,
                source=source,
                metrics=metrics,
                baselines=baselines,
                deciles=deciles(fitted.judged_target, held_out.probabilities),
                decided=decided,
                scores=scores,
                target=fitted.judged_target,
                importance=_largest_first(fitted.table, answers["contributions"]),
                calibration=held_out.calibration.name,
            )
        )
    return Candidate(
        line="score-risk",
        steps=steps,
        data=source,
        metrics=metrics,
        baselines=baselines,
        parity=parity,
        fused_parity=fused_parity,
        answers=_answer_table(fitted, answers),
        recorded=Recorded(tensors, answers),
        calibration=fitted.calibration(config.seed),
        features=fitted.encoding.features,
        bands=decided.bands,
        details={
            "cutoff": decided.cutoff,
            "distributions": distributions(
                fitted.encoding.features,
                fitted.table.values_of(fitted.splits.training),
                answers["score"][:, 0],  # of the release itself, for rows that it has never seen
            ),
            "fairness": decided.fairness,
            "calibration": held_out.calibration.name,
            "reference_score": float(card.scores_of(np.array(card.reference_log_odds))),
            "points_per_log_odds": card.points_per_log_odds,
        },
        headline=("auc", "gini", "ks", "brier", "ece"),
        extra_files={"report.html": report},
    )


def _largest_first(table: Table, contributions: npt.NDArray[Any]) -> list[tuple[str, float]]:
    names = [column.name for column in table.columns]
    pairs = zip(names, np.abs(contributions).mean(axis=0).tolist(), strict=True)
    return sorted(pairs, key=lambda pair: -pair[1])


def _scorecard(fitted: TableModel, calibration: Calibration, config: RiskConfig) -> Scorecard:
    return Scorecard(
        calibration,
        config.base_score,
        config.base_odds,
        config.points_to_double,
        fitted.reference_logit,
    )


def _test_answers(fitted: TableModel, card: Scorecard) -> dict[str, npt.NDArray[Any]]:
    """Return what the release must answer for the test rows: torch's logits, then numpy."""
    answers = fitted.test_answers()
    logits, explained = answers["logits"], answers[fitted.explanation]
    if fitted.explanation == "reset_logits":
        explained = shares_of_falls(logits, explained, card.reference_logit)
    return {
        "default_probability": card.probabilities(logits),  # (rows, 1)
        "score": card.scores(logits),  # (rows, 1)
        "contributions": card.contributions(logits, explained),  # (rows, F)
        "input_rules": fitted.rules[fitted.splits.test],  # (rows, F)
    }


def _metrics(
    fitted: TableModel,
    held_out: Judged,
    answers: dict[str, npt.NDArray[Any]],
    config: RiskConfig,
) -> dict[str, Metrics]:
    judged_split, test_target = fitted.splits.judged_split, fitted.table.target[fitted.splits.test]
    answered = {
        judged_split: (fitted.judged_target, held_out.probabilities),
        "test": (test_target, answers["default_probability"][:, 0]),
    }
    return {
        split: {
            **_measured(target, probabilities, config),
            "ece_by_chance": ece_by_chance(probabilities),
        }
        for split, (target, probabilities) in answered.items()
    }


def _baselines(fitted: TableModel, config: RiskConfig) -> dict[str, dict[str, Metrics]]:
    target = {
        fitted.splits.judged_split: fitted.judged_target,
        "test": fitted.table.target[fitted.splits.test],
    }
    simple = {
        name: {split: answers[:, 1] for split, answers in splits.items()}
        for name, splits in fitted.baselines(config).items()
    }
    found = {"lightgbm": boosting_baseline(fitted, config.seed), **simple}
    return {
        name: {split: _measured(target[split], answers, config) for split, answers in some.items()}
        for name, some in found.items()
    }


def measured(
    target: npt.NDArray[np.int64], probability: npt.NDArray[Any], seed: int, resamples: int
) -> Metrics:
    """Return every measure of ``(rows,)`` probabilities of default, with its interval."""
    # Of many rows, the ends of an interval move little with the resamples, and each costs more.
    resamples = min(resamples, max(100, 4_000_000 // len(target)))
    return measure(RISK_MEASURES, target, probability, seed=seed, resamples=resamples)


def _measured(
    target: npt.NDArray[np.int64], probability: npt.NDArray[Any], config: RiskConfig
) -> Metrics:
    return measured(target, probability, config.seed, config.resamples)


def _steps(fitted: TableModel, card: Scorecard) -> tuple[StepModel, ...]:
    prepare, score = fitted.export()
    calibrate = calibrate_graph(card, len(fitted.encoding.features), fitted.explanation)
    return (
        StepModel("prepare", "pre", prepare),
        StepModel("score", "core", score),
        StepModel("calibrate", "post", calibrate),
    )


def _answer_table(fitted: TableModel, answers: dict[str, npt.NDArray[Any]]) -> pa.Table:
    return pa.table(
        {
            "features": [json.dumps(row) for row in feature_rows(fitted)],
            "default_probability": answers["default_probability"][:, 0],
            "score": answers["score"][:, 0],
            "contributions": pa.array(answers["contributions"].tolist(), pa.list_(pa.float64())),
            "target": fitted.table.target[fitted.splits.test],
        }
    )


TASK = RiskTask()
