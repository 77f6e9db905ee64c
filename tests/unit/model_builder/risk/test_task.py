from __future__ import annotations

import json

import numpy as np
import pytest
from gpu_readiness import reasons

from model_builder.build import build_release
from model_builder.errors import ConfigInvalid, DataFault, GateRefused, ParityBroken
from model_builder.evaluation.gate import read_gate
from model_builder.export.chain import run_steps
from model_builder.export.ensemble import write_models
from model_builder.progress import SilentProgress
from model_builder.releasing import Releasing
from model_builder.risk import task
from model_builder.risk.task import TASK, TOLERANCES, RiskConfig
from model_builder.tabular.fitting import fit_table
from model_builder.tabular.loading import load_table
from model_builder.tabular.targets import outcome_target
from model_builder.task import Candidate, ResolvedData
from triton_models.release import Manifest
from triton_models.signatures import SCORE_RISK
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.usefixtures("quick_torch")

CONFIG = RiskConfig(epochs=4, learning_rate=0.01, width=8, folds=3, repeats=1, resamples=100)


@pytest.fixture(scope="session")
def built(loans: ResolvedData, quick_torch: None) -> Candidate:
    return TASK.build(loans, CONFIG, SilentProgress())


def test_the_steps_are_an_ensemble_of_the_line(built, tmp_path):
    inputs, outputs = write_models(tmp_path, built.line, "r1", built.steps, SCORE_RISK)
    assert [tensor.name for tensor in inputs] == ["numbers", "categories"]
    assert [tensor.name for tensor in outputs] == [spec.name for spec in SCORE_RISK.outputs]
    assert [(step.name, step.role) for step in built.steps] == [
        ("prepare", "pre"),
        ("score", "core"),
        ("calibrate", "post"),
    ]


def test_residual_networks_refuse_a_monotonic_feature(loans, tmp_path):
    schema = tmp_path / "loans.yaml"
    schema.write_text("columns: {income: {monotonic: decreasing}}")
    config = CONFIG.model_copy(update={"network": "residual", "schema_file": str(schema)})
    with pytest.raises(ConfigInvalid, match="`build risk` with network=packed does"):
        TASK.build(loans, config, SilentProgress())


def test_quality_stands_beside_the_baselines(built):
    assert set(built.metrics) == {"cv", "test"}
    for split, metrics in built.metrics.items():
        assert {"auc", "gini", "ks", "brier", "log_loss", "ece", "lift@10"} <= set(metrics)
        assert metrics["auc"].low <= metrics["auc"].value <= metrics["auc"].high
        assert built.baselines["base_rate"][split]["auc"].value == 0.5
        assert metrics["auc"].value > 0.65
        chance = metrics["ece_by_chance"]
        assert 0 < chance.low < chance.value < chance.high < 0.25
        assert metrics["log_loss"].value < built.baselines["base_rate"][split]["log_loss"].value
    assert set(built.headline) <= set(built.metrics["test"])


def test_groups_that_fare_otherwise_are_refused_by_a_rule_of_the_gate(
    built, canned, loans, tmp_path
):
    rates: dict[str, list[float]] = {}
    for group in built.details["fairness"]:
        if group.rows * (1 - group.happened.value) >= 30:
            rates.setdefault(group.attribute, []).append(group.paid_approval_rate.value)
    apart = max(max(values) - min(values) for values in rates.values())
    measured = built.metrics["cv"]["equal_opportunity_difference"]
    assert measured.value == apart > 0
    gate, store = tmp_path / "gate.yaml", ReleaseStore(tmp_path / "store")
    task = type(canned)(TASK, built)

    def build_within(bound: float) -> Manifest:
        metric = f"{{equal_opportunity_difference: {bound}}}"
        gate.write_text(f"lines: {{score-risk: {{fairness: {{cv: {metric}}}}}}}")
        how = Releasing(gate=read_gate(gate))
        return build_release(task, loans, CONFIG, store, SilentProgress(), "r1", how).manifest

    with pytest.raises(GateRefused, match="fairness: cv equal_opportunity_difference: wanted"):
        build_within(0.9 * apart)
    assert store.releases() == []
    assert [check.passed for check in build_within(1.1 * apart).checks] == [True]


def test_parity_covers_every_output_on_the_whole_test_split(built):
    assert set(built.parity) == {spec.name for spec in SCORE_RISK.outputs}
    assert {parity.rows for parity in built.parity.values()} == {built.data.split["test"]}


def test_the_answers_are_what_the_steps_say_to_the_same_requests(built):
    answers = built.answers.to_pydict()
    requests = [json.loads(text) for text in answers["features"]]
    numbers = [[row.get(f.name, np.nan) for f in built.features if f.kind == "number"]
               for row in requests]  # fmt: skip
    words = [[row.get(f.name, "") for f in built.features if f.kind == "category"]
             for row in requests]  # fmt: skip
    tensors = {"numbers": np.array(numbers, np.float32), "categories": np.array(words, object)}
    made = run_steps(built.steps, tensors)

    assert any(len(row) < len(built.features) for row in requests)
    for column, name in (
        ("default_probability", "default_probability"),
        ("score", "score"),
        ("contributions", "contributions"),
    ):
        expected = np.array(answers[column]).reshape(len(requests), -1)
        np.testing.assert_allclose(made[name], expected, atol=TOLERANCES[name])
    assert set(answers["target"]) == {0, 1}


def test_bands_go_from_safest_to_the_lowest_score(built):
    limits = [band.minimum_score for band in built.bands]
    assert built.bands[0].name == "A"
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] == 300


def test_the_contributions_of_every_test_row_add_up_to_its_score(built):
    answers = built.answers.to_pydict()
    points = built.details["points_per_log_odds"] * np.sum(answers["contributions"], axis=1)
    expected = built.details["reference_score"] - points
    np.testing.assert_allclose(answers["score"], expected, rtol=1e-6)
    assert np.ptp(answers["score"]) > 10


def test_the_data_is_described(built):
    assert built.data.rows == sum(built.data.split.values())
    assert built.data.generated
    assert "cross-validation" in built.data.protocol


def test_a_faulty_table_builds_nothing(tmp_path):
    path = tmp_path / "loans.csv"
    path.write_text("x,bad\n" + "".join(f"{i},maybe{i % 2}\n" for i in range(40)))
    with pytest.raises(DataFault, match=r"loans.csv, column 'bad': expected two outcomes"):
        TASK.build(ResolvedData("loans.csv", path, ""), CONFIG, SilentProgress())


def test_steps_that_answer_otherwise_are_refused(built, loans, monkeypatch):
    """The steps are real ones, of a network that was trained longer."""
    monkeypatch.setattr(task, "_steps", lambda fitted, card: built.steps)
    with pytest.raises(ParityBroken, match="output 'default_probability' differs from torch"):
        TASK.build(loans, CONFIG.model_copy(update={"epochs": 1}), SilentProgress())


def test_a_large_table_is_validated_by_one_split(loans):
    config = CONFIG.model_copy(update={"cross_validate_below": 0, "members": 2, "epochs": 2})
    table = load_table(loans, outcome_target, SilentProgress())
    fitted = fit_table(table, config, logits=1, progress=SilentProgress())
    held_out = task.judged(fitted, "auto")
    answers = task._test_answers(fitted, task._scorecard(fitted, held_out.calibration, config))
    metrics = task._metrics(fitted, held_out, answers, config)
    baselines = task._baselines(fitted, config)
    assert {frozenset(splits) for splits in (metrics, *baselines.values())} == {
        frozenset({"validation", "test"})
    }
    split = fitted.data_source(loans, config).split
    assert set(split) == {"train", "validation", "test"}
    assert sum(split.values()) == len(table)


def test_tensorrt_takes_every_core(built):
    assert reasons(built) == {"score": ()}
