"""Builds releases of the line ``diagnose-measurements``: findings from named numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model_builder.diagnosis.evaluation import Held, judge
from model_builder.diagnosis.measurements.calibrate_graph import calibrate_graph
from model_builder.diagnosis.measurements.rows import leak_findings, without_duplicates
from model_builder.diagnosis.probability import contributions, probabilities
from model_builder.diagnosis.report import Shown, page
from model_builder.diagnosis.review import review_rule
from model_builder.diagnosis.settings import DiagnosisSettings
from model_builder.errors import ConfigInvalid, DataFault, Fault
from model_builder.evaluation.calibration import fit_temperature
from model_builder.export.variants import compare_variants
from model_builder.progress import Progress
from model_builder.proof.recorded import Recorded
from model_builder.tabular.cross_fitting import cross_fitted
from model_builder.tabular.evaluation import (
    DIAGNOSIS_MEASURES,
    Measure,
    measure,
)
from model_builder.tabular.fitting import fit_table, split_table
from model_builder.tabular.loading import load_table
from model_builder.tabular.model import TableModel, feature_rows
from model_builder.tabular.table import Table
from model_builder.tabular.targets import finding_target
from model_builder.tabular.training import TabularConfig
from model_builder.task import Candidate, Metrics, ResolvedData, StepModel, TaskConfig
from triton_models.signatures import DIAGNOSE_MEASUREMENTS

TOLERANCES = {
    "probabilities": 1e-5,
    "contributions": 1e-4,  # log-odds
    "input_rules": 0.0,
}
"""How far the exported steps may be from torch, by output."""

Answers = dict[str, npt.NDArray[Any]]

_MOST_GROUPS = 10
"""Values of a feature that are a subgroup each."""


AFTER_TRAINING = tuple(
    sorted(DiagnosisSettings.model_fields.keys() - TaskConfig.model_fields.keys())
)
"""The settings that train nothing: they decide what a person looks at, and what is measured."""


class MeasurementsConfig(TabularConfig, DiagnosisSettings):
    """Hyperparameters of a release that diagnoses from measurements."""

    drop_duplicates: bool = False
    """Leave out all but the first of the rows that are alike."""


class Measurements:
    """Builds releases of the line ``diagnose-measurements``."""

    name: ClassVar[str] = "diagnosis"
    summary: ClassVar[str] = "Names a finding from measurements, with its probability."
    default_data: ClassVar[str] = "breast-cancer"
    config_type: ClassVar[type[TaskConfig]] = MeasurementsConfig

    def build(
        self, data: ResolvedData, config: MeasurementsConfig, progress: Progress
    ) -> Candidate:
        """Train, evaluate and export.

        Raises:
            DataFault: If the data cannot be used.
            ParityBroken: If an exported step does not answer like torch.
        """
        with progress.stage("read"):
            table = load_table(data, finding_target, progress, config.split_by, config.schema_file)
            check_numbers(table, data.path.name)
            subgroups(table, config.subgroup)  # a name that is wrong is told before the training
            if config.drop_duplicates:
                table = without_duplicates(table)
            found = leak_findings(table, split_table(table, config))
            table = replace(table, findings=(*table.findings, *found))
        for finding in found:
            progress.say(f"{data.path.name}: {finding}.")
        fitted = fit_table(table, config, logits=len(table.labels), progress=progress)
        return candidate(fitted, data, config, progress)


def candidate(
    fitted: TableModel, data: ResolvedData, config: MeasurementsConfig, progress: Progress
) -> Candidate:
    """Measure a network, export it and compare.

    Raises:
        ParityBroken: If an exported step does not answer like the network.
    """
    temperature = fit_temperature(fitted.judged_logits, fitted.judged_target)
    judged = judged_probabilities(fitted)
    threshold = review_rule(judged, fitted.judged_target, config)
    with progress.stage("evaluate"):
        answers = _test_answers(fitted, temperature)
        held = _held(fitted, judged, answers["probabilities"], config.subgroup)
        measured = judge(held, fitted.table.labels, threshold, config)
        baselines = _baselines(fitted, config)
        source = fitted.data_source(data, config)
    tensors = fitted.test_tensors()
    tolerances = {n: t for n, t in fitted.own_tolerances.items() if n in TOLERANCES}
    with progress.stage("export"):
        steps = _steps(fitted, temperature)
    with progress.stage("compare"):
        parity, fused_parity = compare_variants(
            steps,
            DIAGNOSE_MEASUREMENTS,
            tensors,
            answers,
            {**TOLERANCES, **tolerances},
            compared=fitted.parity_kind,
        )
    return Candidate(
        line="diagnose-measurements",
        steps=steps,
        data=source,
        metrics=measured.metrics,
        baselines=baselines,
        parity=parity,
        fused_parity=fused_parity,
        answers=_answer_table(fitted, answers),
        recorded=Recorded(tensors, answers),
        calibration=fitted.calibration(config.seed),
        features=fitted.encoding.features,
        labels=fitted.table.labels,
        review_threshold=threshold,
        details={"operating_points": measured.points},
        headline=("auc", "accuracy", "log_loss", "ece"),
        extra_files={"report.html": page(Shown(source, measured, baselines, temperature))},
    )


def _held(
    fitted: TableModel,
    judged: npt.NDArray[Any],
    test: npt.NDArray[Any],
    subgroup: str | None,
) -> dict[str, Held]:
    splits, target = fitted.splits, fitted.table.target
    rows = {splits.judged_split: splits.development[splits.judging], "test": splits.test}
    groups = subgroups(fitted.table, subgroup)
    return {
        split: Held(target[places], answers, groups=None if groups is None else groups[places])
        for (split, places), answers in zip(rows.items(), (judged, test), strict=True)
    }


def subgroups(table: Table, name: str | None) -> npt.NDArray[np.str_] | None:
    """Return the subgroup of each row by a feature: its values, or thirds where they are many.

    Raises:
        ConfigInvalid: If there is no such feature.
    """
    if name is None:
        return None
    columns = {one: column.name for column in table.columns
               for one in (column.name, column.file_name)}  # fmt: skip
    if name not in columns:
        raise ConfigInvalid([f"subgroup: there is no feature '{name}'"])
    values = table.values[columns[name]].astype(np.float64)
    known = ~np.isnan(values)
    groups = np.full(len(values), "missing", "U40")
    if len(np.unique(values[known])) <= _MOST_GROUPS:
        groups[known] = [f"{value:g}" for value in values[known]]
        return groups
    low, high = np.quantile(values[known], (1 / 3, 2 / 3))
    texts = np.array([f"below {low:.4g}", f"{low:.4g} to {high:.4g}", f"above {high:.4g}"])
    groups[known] = texts[(values[known] >= low).astype(int) + (values[known] > high)]
    return groups


def check_numbers(table: Table, file_name: str) -> None:
    """Refuse a table with texts.

    Raises:
        DataFault: Names each such column.
    """
    faults = [
        Fault(file_name, "numbers (measurements are numbers)", "texts", column=column.file_name)
        for column in table.columns
        if column.kind == "category"
    ]
    if faults:
        raise DataFault(faults)


def judged_probabilities(fitted: TableModel) -> npt.NDArray[Any]:
    """Return the probabilities of the judged rows, ``(judged rows, K)``.

    By members and by a calibration that have not seen the row.
    """
    return cross_fitted(fitted, _calibrated)


def _calibrated(
    known: npt.NDArray[np.float32],
    target: npt.NDArray[np.int64],
    asked: npt.NDArray[np.float32],
) -> npt.NDArray[Any]:
    return probabilities(asked, fit_temperature(known, target))


def _test_answers(fitted: TableModel, temperature: float) -> Answers:
    """Return what the release must answer for the test rows: torch's logits, then numpy."""
    logits, reset = (fitted.test_answers()[name] for name in ("logits", "reset_logits"))
    return {
        "probabilities": probabilities(logits, temperature),  # (rows, K)
        "contributions": contributions(logits, reset, temperature),  # (rows, F, K)
        "input_rules": fitted.rules[fitted.splits.test],  # (rows, F)
    }


def _baselines(fitted: TableModel, config: MeasurementsConfig) -> dict[str, dict[str, Metrics]]:
    target = {
        fitted.splits.judged_split: fitted.judged_target,
        "test": fitted.table.target[fitted.splits.test],
    }
    return {
        name: {
            split: _measured(DIAGNOSIS_MEASURES, target[split], answers, config)
            for split, answers in splits.items()
        }
        for name, splits in fitted.baselines(config).items()
    }


def _measured(
    measures: Mapping[str, Measure],
    target: npt.NDArray[np.int64],
    probabilities: npt.NDArray[Any],
    config: MeasurementsConfig,
) -> Metrics:
    return measure(measures, target, probabilities, seed=config.seed, resamples=config.resamples)


def _steps(fitted: TableModel, temperature: float) -> tuple[StepModel, ...]:
    prepare, classify = fitted.export()
    calibrate = calibrate_graph(
        temperature, len(fitted.encoding.features), len(fitted.table.labels)
    )
    return (
        StepModel("prepare", "pre", prepare),
        StepModel("classify", "core", classify),
        StepModel("calibrate", "post", calibrate),
    )


def _answer_table(fitted: TableModel, answers: Answers) -> pa.Table:
    return pa.table(
        {
            "measurements": [json.dumps(row) for row in feature_rows(fitted)],
            "probabilities": pa.array(answers["probabilities"].tolist(), pa.list_(pa.float64())),
            "target": fitted.table.target[fitted.splits.test],
        }
    )


KIND = Measurements()
