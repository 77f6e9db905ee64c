"""`model-builder build` as it is typed: by itself with trackers, and shared out by torchrun."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from served import BIN, run

from triton_models.store import ReleaseStore

pytestmark = pytest.mark.e2e

NO_RULES = Path(__file__).parents[1] / "data" / "gate_without_rules.yaml"
SETTINGS = {
    "epochs": 3,
    "learning_rate": 0.02,
    "cross_validate_below": 0,
    "resamples": 20,
    "dropout": 0,  # each process drops values of its own
}


def command(folder: Path, *more: object) -> list[object]:
    """Return a build of a small network in a store of its own."""
    settings = [word for pair in SETTINGS.items() for word in ("--set", "{}={}".format(*pair))]
    return ["model-builder", "build", "risk", "--data", "generated-credit", *settings,
            "--release", "r1", "--run-name", "one", "--runs", folder / "runs",
            "--store", folder / "store", "--gate", NO_RULES, "--unproven", *more]  # fmt: skip


def environment(**more: str) -> dict[str, str]:
    trackers = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")
    return {name: at for name, at in os.environ.items() if name not in trackers} | more


def epochs(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs" / "one" / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["validation"]]


def answers(folder: Path) -> Any:
    report = Path(ReleaseStore(folder / "store").report_path("score-risk", "r1"))
    return pq.read_table(report / "answers.parquet")["default_probability"].to_numpy()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a build by one process, with two trackers."""
    folder = tmp_path_factory.mktemp("alone")
    tracks = ("--track", "tensorboard", "--track", "mlflow")
    done = run(*command(folder, *tracks), environment=environment())
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.filterwarnings("ignore")  # of the libraries that the trackers import
def test_every_tracker_that_is_asked_for_gets_the_same_curve(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # to read one, too
    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    known = [float(row["validation"]) for row in epochs(alone)]
    steps = [int(row["step"]) for row in epochs(alone)]
    assert len(known) == SETTINGS["epochs"]

    board = EventAccumulator(str(alone / "runs" / "one" / "tensorboard"))
    board.Reload()
    scalars = board.Scalars("train/validation")
    assert [point.step for point in scalars] == steps
    assert [point.value for point in scalars] == pytest.approx(known)

    client = MlflowClient(tracking_uri=(alone / "runs" / "mlruns").as_uri())
    [experiment] = [one for one in client.search_experiments() if one.name == "trident"]
    [found] = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(found.info.run_id, "train/validation")
    assert [point.step for point in history] == steps
    assert [point.value for point in history] == pytest.approx(known)
    manifest = ReleaseStore(alone / "store").manifest("score-risk", "r1")
    assert found.data.tags["trident.run"] == manifest.run == "one"
    auc = manifest.metrics["test"]["auc"].value
    assert found.data.metrics["release/test.auc"] == pytest.approx(auc)


def test_torchrun_shares_a_build_between_processes_and_the_first_publishes(
    tmp_path: Path, alone: Path
) -> None:
    # Each of the two writes down how it ended: one that did not train would leave the other
    # waiting for its part of the gradients.
    shell = '"$@"; echo $? > "$FOLDER/ended-$RANK"'
    build = command(tmp_path)
    done = run(
        "torchrun", "--nproc-per-node", 2, "--rdzv-backend", "c10d",
        "--rdzv-endpoint", "127.0.0.1:0", "--no-python",
        "sh", "-c", shell, "sh", BIN / str(build[0]), *build[1:],
        environment=environment(FOLDER=str(tmp_path), OMP_NUM_THREADS="1"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ends = {file.name: file.read_text() for file in tmp_path.glob("ended-*")}
    assert ends == {"ended-0": "0\n", "ended-1": "0\n"}, done.stderr
    assert done.stderr.count("Built score-risk/r1") == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["one"]

    for one, two in zip(epochs(alone), epochs(tmp_path), strict=True):
        assert two["step"] == one["step"]
        assert float(two["loss"]) == pytest.approx(float(one["loss"]), rel=1e-4)
    assert answers(alone).std() > 0.01  # it has learnt something that could differ
    assert answers(tmp_path) == pytest.approx(answers(alone), abs=1e-4)
    ours, theirs = (
        ReleaseStore(folder / "store").manifest("score-risk", "r1") for folder in (tmp_path, alone)
    )
    assert ours.data == theirs.data
    assert ours.hyperparameters == theirs.hyperparameters
    assert ours.metrics["test"]["auc"].value == pytest.approx(
        theirs.metrics["test"]["auc"].value, abs=1e-3
    )
