from __future__ import annotations

import csv
import warnings
from pathlib import Path

import pytest
from tracked_run import VALUES, tracked_run

from model_builder.tracking.journals import (
    COLUMNS,
    TRACKERS,
    CsvTracker,
    Journals,
    TrackerMissing,
    open_journals,
)
from model_builder.tracking.runs import Run


@pytest.fixture
def run() -> Run:
    return tracked_run()


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_is_always_written(tmp_path: Path, run: Run) -> None:
    journals = open_journals(tmp_path / "new", run, [])
    journals.log("train", 10, {"epoch": 1, "step_loss": 0.7, "learning_rate": 1e-3})
    journals.log("train", 12, VALUES)
    journals.finish(run)
    step, epoch = rows(tmp_path / "new")
    assert tuple(step) == COLUMNS
    assert (step["stage"], step["step"], step["step_loss"]) == ("train", "10", "0.7")
    assert (epoch["loss"], epoch["validation"], epoch["step_loss"]) == ("0.5", "0.75", "")


def test_an_epoch_says_how_loaded_the_machine_is(tmp_path: Path, run: Run) -> None:
    journals = open_journals(tmp_path, run, [])
    journals.log("train", 1, {"step_loss": 0.7})
    journals.log("train", 2, VALUES)
    step, epoch = rows(tmp_path)
    assert step["memory_mb"] == ""
    assert 10 < float(epoch["memory_mb"]) < 1e6
    assert float(epoch["cpu_percent"]) >= 0
    journals.finish(run)


def test_what_came_after_a_checkpoint_is_forgotten(tmp_path: Path, run: Run) -> None:
    tracker = CsvTracker(tmp_path)
    for step in (1, 5, 9):
        tracker.log("train", step, {"step_loss": step})
        tracker.log("other", step, {"step_loss": step})
    tracker.rewind("train", 5)
    tracker.log("train", 6, {"step_loss": 6})
    tracker.finish(run)
    kept = [(row["stage"], int(row["step"])) for row in rows(tmp_path)]
    assert [step for stage, step in kept if stage == "train"] == [1, 5, 6]
    assert [step for stage, step in kept if stage == "other"] == [1, 5, 9]


def test_tensorboard_gets_scalars_and_forgets_too(tmp_path: Path, run: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that tensorboard imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        tracker = TRACKERS["tensorboard"](tmp_path, run)
        tracker.log("train", 4, VALUES)
        tracker.log("train", 8, {**VALUES, "loss": 9.0})
        tracker.rewind("train", 4)
        tracker.log("train", 8, {**VALUES, "loss": 0.25})
        tracker.finish(run)
        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(4, 0.5), (8, 0.25)]
    assert events.Scalars("release/test.auc")[0].value == pytest.approx(0.9)


def test_a_library_that_is_missing_is_named(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(folder: Path, run: Run) -> None:
        raise ModuleNotFoundError("wandb")

    monkeypatch.setitem(TRACKERS, "wandb", missing)
    with pytest.raises(TrackerMissing, match=r"--track wandb: needs pip install 'trident\[tr"):
        open_journals(tmp_path, run, ["wandb"])


def test_every_tracker_gets_everything(run: Run) -> None:
    class Remembers:
        def __init__(self) -> None:
            self.seen: list[object] = []

        def log(self, *what: object) -> None:
            self.seen.append(what)

        rewind = log

        def finish(self, run: Run) -> None:
            self.seen.append(run)

    one, other = Remembers(), Remembers()
    journals = Journals([one, other])
    journals.log("train", 1, {"loss": 1.0})
    journals.rewind("train", 0)
    journals.finish(run)
    assert one.seen == other.seen == [("train", 1, {"loss": 1.0}), ("train", 0), run]
