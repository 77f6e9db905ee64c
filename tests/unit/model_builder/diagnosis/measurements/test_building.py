from __future__ import annotations

import json

import numpy as np
import pytest
from gpu_readiness import reasons

from model_builder.datasets import Places, resolve
from model_builder.diagnosis.measurements import building
from model_builder.diagnosis.measurements.building import KIND, TOLERANCES, MeasurementsConfig
from model_builder.errors import ConfigInvalid, DataFault, ParityBroken
from model_builder.export.chain import run_steps
from model_builder.export.ensemble import write_models
from model_builder.progress import SilentProgress
from model_builder.tabular.loading import load_table
from model_builder.tabular.targets import finding_target
from model_builder.task import Candidate, ResolvedData
from triton_models.signatures import DIAGNOSE_MEASUREMENTS

pytestmark = pytest.mark.usefixtures("quick_torch")

CONFIG = MeasurementsConfig(
    epochs=6, learning_rate=0.01, width=8, folds=3, repeats=1, resamples=100
)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> ResolvedData:
    return resolve("breast-cancer", places=Places(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def built(data: ResolvedData, quick_torch: None) -> Candidate:
    return KIND.build(data, CONFIG, SilentProgress())


def test_the_steps_are_an_ensemble_of_the_line(built, tmp_path):
    inputs, outputs = write_models(tmp_path, built.line, "r1", built.steps, DIAGNOSE_MEASUREMENTS)
    assert [(tensor.name, tensor.dims) for tensor in inputs] == [("numbers", (30,))]
    assert [(tensor.name, tensor.dims) for tensor in outputs] == [
        ("probabilities", (2,)),
        ("contributions", (30, 2)),
        ("input_rules", (30,)),
    ]


def test_cancer_is_found(built):
    assert built.labels == ("benign", "malignant")
    for metrics in built.metrics.values():
        assert metrics["auc"].value > 0.97
        assert metrics["answered_accuracy"].value >= metrics["accuracy"].value
    assert built.features[0].name == "mean_radius"


def test_a_monotonic_measurement_is_refused_and_not_forgotten(data, tmp_path):
    schema = tmp_path / "cancer.yaml"
    schema.write_text("columns: {mean radius: {monotonic: increasing}}")
    config = CONFIG.model_copy(update={"schema_file": str(schema)})
    with pytest.raises(ConfigInvalid, match="residual networks keep no monotonic feature"):
        KIND.build(data, config, SilentProgress())


def test_the_review_threshold_is_a_probability(built):
    assert built.review_threshold is not None
    assert 0.5 <= built.review_threshold < 1


def test_the_answers_are_what_the_steps_say_to_the_same_requests(built):
    answers = built.answers.to_pydict()
    requests = [json.loads(text) for text in answers["measurements"]]
    names = [feature.name for feature in built.features]
    numbers = np.array([[row[name] for name in names] for row in requests], np.float32)
    made = run_steps(built.steps, {"numbers": numbers})

    np.testing.assert_allclose(
        made["probabilities"], answers["probabilities"], atol=TOLERANCES["probabilities"]
    )
    malignant = np.array(answers["target"]) == 1
    assert made["probabilities"][malignant, 1].mean() > 0.7
    assert made["probabilities"][~malignant, 1].mean() < 0.3


def test_several_findings_each_have_a_probability(tmp_path):
    draws = np.random.default_rng(1)
    x, y = draws.normal(size=(2, 240))
    finding = np.where(x > 0.5, "high", np.where(x < -0.5, "low", "normal"))
    path = tmp_path / "a.csv"
    lines = [f"{a},{b},{word}" for a, b, word in zip(x, y, finding, strict=True)]
    path.write_text("\n".join(["x,y,finding", *lines]) + "\n")

    config = CONFIG.model_copy(update={"epochs": 10, "learning_rate": 0.1})
    built = KIND.build(ResolvedData("a.csv", path, ""), config, SilentProgress())

    assert built.labels == ("high", "low", "normal")
    made = run_steps(built.steps, {"numbers": np.array([[3, 0], [-3, 0], [0, 0]], np.float32)})
    assert made["probabilities"].argmax(axis=1).tolist() == [0, 1, 2]
    strongest = np.abs(made["contributions"]).max(axis=2)[:2].argmax(axis=1)
    assert strongest.tolist() == [0, 0]


def test_steps_that_answer_otherwise_are_refused(built, data, monkeypatch):
    """The steps are real ones, of a network that was trained longer."""
    monkeypatch.setattr(building, "_steps", lambda fitted, temperature: built.steps)
    with pytest.raises(ParityBroken, match="output 'probabilities' differs from torch"):
        KIND.build(data, CONFIG.model_copy(update={"epochs": 1}), SilentProgress())


def test_a_text_is_no_measurement(tmp_path):
    path = tmp_path / "a.csv"
    rows = "".join(f"{i},{'red' if i % 3 else 'blue'},{i % 2}\n" for i in range(40))
    path.write_text("x,colour,sick\n" + rows)
    with pytest.raises(DataFault, match=r"column 'colour': expected numbers .* found texts"):
        KIND.build(ResolvedData("a.csv", path, ""), CONFIG, SilentProgress())


def test_subgroups_are_the_values_of_a_feature_or_its_thirds(tmp_path):
    draws = np.random.default_rng(1)
    x, sex = draws.normal(size=240), np.arange(240) % 2
    sick = (x + draws.normal(size=240) > 0).astype(int)
    path = tmp_path / "a.csv"
    rows = "".join(f"{a},{b},{c}\n" for a, b, c in zip(x, sex, sick, strict=True))
    path.write_text("x,sex,sick\n" + rows)
    data = ResolvedData("a.csv", path, "")

    by_sex = KIND.build(data, CONFIG.model_copy(update={"subgroup": "sex"}), SilentProgress())
    assert b"Subgroups" in by_sex.extra_files["report.html"]
    table = load_table(data, finding_target, SilentProgress())
    assert np.unique(building.subgroups(table, "sex")).tolist() == ["0", "1"]
    thirds = np.unique(building.subgroups(table, "x"), return_counts=True)[1]
    assert thirds.tolist() == [80, 80, 80]
    with pytest.raises(ConfigInvalid, match="there is no feature 'age'"):
        building.subgroups(table, "age")


def test_tensorrt_takes_every_core(built):
    assert reasons(built) == {"classify": ()}
