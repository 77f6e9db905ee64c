"""`model-builder tune` as a process: killed, gone on with, and shared between workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from model_builder.tuning.errors import WorkerFailed
from model_builder.tuning.study import open_study
from model_builder.tuning.trials import Job
from model_builder.tuning.workers import run_in_workers

pytestmark = pytest.mark.e2e

TOYS = Path(__file__).parents[1] / "data"
PROGRAM = (
    "from model_builder.cli import cli; from model_builder.discovery import Tasks; "
    "cli(obj=Tasks('toy_tasks'))"
)
PATIENCE_S = 240

Tune = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def stop(tmp_path: Path) -> Path:
    """While this file is there, a trial says so beside it and waits."""
    return tmp_path / "stop"


@pytest.fixture
def tune(tmp_path: Path, stop: Path) -> Iterator[Tune]:
    started = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        environment = os.environ | {
            "PYTHONPATH": str(TOYS),
            "TOY_TUNING_STOPS_AT": str(stop),
            "TRIDENT_CACHE_DIR": str(tmp_path / "cache"),
        }
        command = ["tune", "toy", "--out", tmp_path / "study", "--json", *arguments]
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, command)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(said)
    return found


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def in_state(folder: Path, *states: TrialState) -> list[optuna.trial.FrozenTrial]:
    return open_study(folder).get_trials(deepcopy=False, states=states)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_study_goes_on_after_kill_9(tmp_path: Path, stop: Path, tune: Tune, workers: int) -> None:
    known = ended(tune("--trials", 3))["trials"]
    stop.touch()
    process = tune("--trials", 7, "--workers", workers)
    until(stop.with_suffix(".waiting").exists)
    process.kill()
    process.wait(PATIENCE_S)
    folder = tmp_path / "study"
    until(lambda: len(in_state(folder, TrialState.RUNNING)) >= 1)
    cut_off = in_state(folder, TrialState.RUNNING)
    stop.unlink()

    found = ended(tune("--trials", 7, "--workers", workers))

    assert found["trials"][: len(known)] == known
    assert len(found["trials"]) == 7
    assert not in_state(folder, TrialState.RUNNING)
    failed = {trial.number for trial in in_state(folder, TrialState.FAIL)}
    assert failed >= {trial.number for trial in cut_off}
    again = {trial.user_attrs.get("instead_of"): trial.params
             for trial in in_state(folder, TrialState.COMPLETE, TrialState.PRUNED)}  # fmt: skip
    for trial in cut_off:
        assert again[trial.number].items() >= trial.params.items()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_keeps_the_study(tmp_path: Path, stop: Path, tune: Tune, workers: int) -> None:
    known = ended(tune("--trials", 2))["trials"]
    stop.touch()
    process = tune("--trials", 6, "--workers", workers)
    until(stop.with_suffix(".waiting").exists)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130, errors
    assert "4 trials are left: the same command goes on with them." in errors
    found = json.loads(said)
    assert found["interrupted"] is True
    assert found["trials"] == known
    assert (tmp_path / "study" / "best.yaml").is_file()


def test_workers_share_the_trials_of_one_study(tmp_path: Path, tune: Tune) -> None:
    found = ended(tune("--trials", 9, "--workers", 2))
    assert [trial["number"] for trial in found["trials"]] == list(range(9))
    drawn = {tuple(trial["params"].values()) for trial in found["trials"]}
    assert len(drawn) == 9  # each worker draws its own
    assert found["best"] == max(trial["value"] or 0 for trial in found["trials"])


def test_what_a_worker_cannot_do_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TOYS))
    job = Job(package="toy_tasks", task="toy", data="/nowhere", folder=tmp_path, trials=2)
    with pytest.raises(WorkerFailed, match="there is no file and no data set '/nowhere'"):
        run_in_workers(job, 2, 2, open_study(tmp_path), lambda trial: None)


def test_a_start_that_cannot_be_trained_is_one_clear_line(tune: Tune) -> None:
    process = tune("--trials", 1, "--set", "shift=1")
    said, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert said == ""
    assert "training diverged in epoch 1" in errors
    assert "Traceback" not in errors


def test_the_benchmark_says_by_its_exit_whether_tuning_beats_the_defaults(tmp_path: Path) -> None:
    """Three trials, which may or may not: that twenty do is for the benchmark to show."""
    benchmark = Path(__file__).parents[2] / "benchmarks" / "tuning.py"
    done = subprocess.run(
        [sys.executable, benchmark, "--data", "generated-credit", "--trials", "3", "--json"],
        capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"TRIDENT_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert found["trials"] == 3
    assert found["better"] == (found["best"] > found["defaults"]) == (done.returncode == 0)
