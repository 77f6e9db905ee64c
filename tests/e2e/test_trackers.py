"""MLflow and Weights & Biases, as they are installed, take down a run on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracked_run import VALUES, tracked_run

from model_builder.tracking.journals import TRACKERS
from model_builder.tracking.runs import Run

pytestmark = pytest.mark.e2e


@pytest.fixture
def run() -> Run:
    return tracked_run()


@pytest.mark.filterwarnings("ignore")
def test_mlflow_writes_a_local_file_store(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "r-1"
    tracker = TRACKERS["mlflow"](folder, run)
    tracker.log("train", 4, VALUES)
    # A run that goes on is the same run of MLflow's.
    again = TRACKERS["mlflow"](folder, run)
    again.log("train", 8, VALUES)
    again.finish(run)

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    [experiment] = [e for e in client.search_experiments() if e.name == "trident"]
    [found] = client.search_runs([experiment.experiment_id])
    assert found.data.tags["trident.run"] == found.info.run_name == "r-1"
    assert found.info.status == "FINISHED"
    assert found.data.params == {"seed": "0", "training.optimizer": "lion"}
    assert found.data.metrics["release/test.ndcg_at_10"] == 0.2
    history = client.get_metric_history(found.info.run_id, "train/validation")
    assert [point.step for point in history] == [4, 8]


@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_offline_without_a_key(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    tracker = TRACKERS["wandb"](tmp_path, run)
    assert tracker._run.settings.mode == "offline"
    assert tracker._run.id == "r-1"
    tracker.log("train", 4, VALUES)
    assert tracker._run.summary["train/loss"] == 0.5
    tracker.finish(run)
    wandb.teardown()  # as at the end of a program: waits until all is in the file
    [written] = (tmp_path / "wandb").glob("offline-run-*/run-r-1.wandb")
    assert b"train/validation" in written.read_bytes()
