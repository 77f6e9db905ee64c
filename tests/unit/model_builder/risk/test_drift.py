"""``model-builder drift`` on a release in a store, with rows that moved and rows that did not."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gateway.audit.payload_log import PayloadLog
from gateway.audit.payload_rows import MessageTypes, PayloadRows
from gateway.audit.record import AccessRecord, Payload
from model_builder.build import build_release
from model_builder.cli import cli
from model_builder.datasets import resolve
from model_builder.progress import SilentProgress
from model_builder.risk.task import TASK, RiskConfig
from model_builder.tabular.schema_file import beside
from trident.risk.v1 import risk_service_pb2 as risk
from triton_models.store import ReleaseStore

SCORE_RISK = "trident.risk.v1.RiskService/ScoreRisk"

pytestmark = pytest.mark.usefixtures("quick_torch")


@pytest.fixture(scope="module")
def store(loans, quick_torch, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    config = RiskConfig(epochs=2, width=8, folds=3, resamples=20)
    build_release(TASK, loans, config, ReleaseStore(folder), SilentProgress(), "r1")
    return folder


def drift(store: Path | str, data: Path, *options: str) -> tuple[int, str]:
    command = ["drift", "score-risk/r1", "--data", str(data), "--store", str(store), *options]
    done = CliRunner().invoke(cli, command)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, done.stdout or done.stderr


@pytest.fixture
def rows(loans) -> list[dict[str, str]]:
    path = loans.path / "loans.csv" if loans.path.is_dir() else loans.path
    with path.open() as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_rows_that_it_was_built_on_have_not_drifted(store, rows, tmp_path):
    code, text = drift(store, write(tmp_path / "same.csv", rows), "--strict", "--json")
    found = json.loads(text)
    assert code == 0
    assert found["rows"] == len(rows)
    assert found["shifts"][0]["kind"] == "score"
    assert len(found["shifts"]) == 8
    assert not any(shift["drifted"] for shift in found["shifts"])
    assert max(shift["psi"] for shift in found["shifts"] if shift["kind"] != "score") < 0.05


def test_what_moved_is_named_and_the_score_with_it(store, rows, tmp_path):
    draws = np.random.default_rng(0)
    for row in rows:
        row.pop("default")
        row["housing"] = "boat" if draws.random() < 0.4 else row["housing"]
        row["income"] = str(float(row["income"] or 20000) / 3)
    moved = write(tmp_path / "moved.csv", rows)
    code, text = drift(store, moved, "--strict", "--json")
    found = {shift["name"]: shift for shift in json.loads(text)["shifts"]}
    assert code == 3
    assert found["income"]["drifted"]
    assert found["housing"]["drifted"]
    assert found["housing"]["unknown"] == pytest.approx(0.4, abs=0.05)
    assert not found["purpose"]["drifted"]
    assert "(score)" in drift(store, moved)[1]


def test_what_the_schema_calls_missing_is_missing_in_new_rows_too(rows, tmp_path):
    for row in rows:
        row["income"] = row["income"] or "-5"
        row["housing"] = row["housing"].replace("own", "?!")
    data = write(tmp_path / "loans.csv", rows)
    beside(data).write_text(
        "columns:\n  income: {missing_values: ['-5']}\n  housing: {missing_values: ['?!']}\n"
    )
    config = RiskConfig(epochs=2, width=8, folds=3, resamples=20)
    store, found = ReleaseStore(tmp_path / "store"), resolve(str(data), label="default")
    build_release(TASK, found, config, store, SilentProgress(), "r1")
    code, text = drift(tmp_path / "store", data, "--strict", "--json")
    found = {shift["name"]: shift for shift in json.loads(text)["shifts"]}
    assert code == 0, text
    for name, gap in (("income", "-5"), ("housing", "?!")):
        share = sum(row[name] in ("", gap) for row in rows) / len(rows)
        assert share > 0.05
        assert found[name]["missing"] == pytest.approx(share)
        assert found[name]["unknown"] == 0


def test_a_feature_without_a_column_is_named(store, rows, tmp_path):
    for row in rows:
        del row["income"]
    done = CliRunner().invoke(
        cli, ["drift", "score-risk/r1", "--store", str(store), "--data",
              str(write(tmp_path / "less.csv", rows))]
    )  # fmt: skip
    assert done.exit_code == 1
    assert "expected a column 'income', found none" in done.stderr


def test_a_store_that_is_no_folder_is_asked_like_one(store, rows, tmp_path):
    url = f"memory://{tmp_path.name}"
    manifest = ReleaseStore(store).manifest("score-risk", "r1")
    ReleaseStore(url).publish(manifest, store / "models", {})
    data = write(tmp_path / "same.csv", rows)
    assert drift(url, data, "--json") == drift(store, data, "--json")
    assert drift(url, data)[0] == 0


def test_the_release_holds_what_a_regulator_asks_for(store):
    manifest = ReleaseStore(store).manifest("score-risk", "r1")
    assert manifest.calibration in ("beta", "isotonic")
    assert manifest.cutoff.minimum_score >= 300
    assert {group.attribute for group in manifest.fairness} == {"age_years"}
    assert set(manifest.baselines) == {"lightgbm", "logistic_regression", "base_rate"}
    reports = store / "reports" / "score-risk" / "r1"
    page = (reports / "report.html").read_text()
    for part in ("Calibration and lift by decile", "What moves the score", "lightgbm", "<svg"):
        assert part in page
    card = (reports / "report.md").read_text()
    for part in ("Calibrated by", "Cut-off ", "Fairness at the cut-off", "age_years: "):
        assert part in page
        assert part in card
    assert "## Bands" in card


def served(store: Path, rows: list[dict[str, str]], folder: Path) -> Path:
    """Rows as a gateway writes them down that was asked to score them."""
    log = PayloadLog(
        folder,
        "w1",
        PayloadRows({SCORE_RISK: MessageTypes(risk.ScoreRiskRequest, risk.ScoreRiskResponse)}),
        file_rows=len(rows),
        files=1,
    )
    features = ReleaseStore(store).manifest("score-risk", "r1").features
    answer = risk.ScoreRiskResponse(score=500).SerializeToString()
    for row in rows:
        request = risk.ScoreRiskRequest()
        for feature in features:
            text = row[feature.name]
            value = request.features[feature.name]
            if feature.kind == "category" and text:
                value.category = text
            elif text:
                value.number = float(text)
        access = AccessRecord(
            1, 1, SCORE_RISK, 0, "", "", "score-risk", "r1", "", 0, "", 1, 1, 1, 1
        )
        log.put(Payload(access, request.SerializeToString(), answer))
    log.close()
    assert log.dropped == 0
    (file,) = (folder / "score-risk").iterdir()
    return file


def test_what_a_gateway_wrote_down_is_read_as_it_was_asked(store, rows, tmp_path):
    code, text = drift(store, served(store, rows, tmp_path), "--strict", "--json")
    found = json.loads(text)
    assert (code, found["rows"]) == (0, len(rows))
    _, of_file = drift(store, write(tmp_path / "same.csv", rows), "--json")
    assert found["shifts"] == json.loads(of_file)["shifts"]
