"""Runs by the command line: the toy task is trained, written down, gone on with, compared."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from model_builder.cli import cli
from model_builder.discovery import Tasks
from model_builder.tracking.runs import RunFolder

NO_RULES = "gate_without_rules.yaml"

pytestmark = pytest.mark.usefixtures("quick_torch")


@pytest.fixture
def run(tmp_path: Path, toy_tasks: str, loans, data_folder: Path) -> Callable[..., Result]:
    def invoke(*arguments: str, ends: int = 0) -> Result:
        given = [*arguments, "--runs", str(tmp_path / "runs")]
        if arguments[0] != "runs":
            given += ["--data", str(loans.path)]
        if arguments[0] == "build":
            given += ["--store", str(tmp_path / "store")]
        environment = {"TRIDENT_UNPROVEN": "1", "TRIDENT_GATE": str(data_folder / NO_RULES)}
        result = CliRunner().invoke(cli, given, obj=Tasks(toy_tasks), env=environment)
        assert result.exit_code == ends, result.output
        return result

    return invoke


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], RunFolder]:
    return lambda name: RunFolder(tmp_path / "runs", name)


def test_a_build_is_a_run_with_its_name_in_the_manifest(run, folder) -> None:
    built = json.loads(run("build", "toy", "--run-name", "one", "--json").stdout)
    manifest = json.loads(Path(built["manifest"]).read_text())
    assert built["run"] == manifest["run"] == "one"
    assert manifest["schema_version"] == 1
    known = folder("one").read()
    assert (known.state, known.task) == ("finished", "toy")
    assert known.release == f"{built['line']}/{built['release']}"
    assert known.metrics["test"]["auc"] == built["metrics"]["test"]["auc"]["value"]
    assert known.config == manifest["hyperparameters"]
    with (folder("one").path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = [row for row in rows if row["validation"]]
    assert [row["epoch"] for row in epochs] == [str(number) for number in range(1, 16)]
    assert {row["stage"] for row in rows} == {"train"}


def test_a_run_without_a_name_gets_one(run, tmp_path: Path) -> None:
    built = json.loads(run("build", "toy", "--json").stdout)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [built["run"]]
    assert "-toy-" in built["run"]


def test_a_name_that_cannot_be_is_refused_before_any_work(run, tmp_path: Path) -> None:
    assert "run name 'a/b'" in run("build", "toy", "--run-name", "a/b", ends=2).output
    assert not (tmp_path / "runs").exists()


def test_a_name_that_is_taken_is_refused(run) -> None:
    run("build", "toy", "--run-name", "one")
    said = run("build", "toy", "--run-name", "one", ends=2).output
    assert "run 'one': has begun already; --resume goes on with it" in said


def test_a_build_that_fails_is_a_run_that_failed(run, folder) -> None:
    run("build", "toy", "--run-name", "bad", "--set", "shift=0.2", ends=1)
    known = folder("bad").read()
    assert known.state == "failed"
    assert "differs from torch" in known.cause


def test_a_run_that_failed_goes_on_as_it_was_begun(run, folder) -> None:
    """The release is refused after training: what was trained is not trained again."""
    options = ("--set", "shift=0.2", "--set", "training.checkpoint_steps=7")
    run("build", "toy", "--run-name", "bad", *options, ends=1)
    assert (folder("bad").path / "checkpoints" / "train.pt").exists()
    before = (folder("bad").path / "metrics.csv").read_text()
    said = run("build", "toy", "--resume", ends=1).output
    assert "differs from torch" in said  # so it has the shift from its first beginning
    assert (folder("bad").path / "metrics.csv").read_text() == before


def test_checkpoints_go_when_the_run_is_finished(run, folder) -> None:
    run("build", "toy", "--run-name", "one", "--set", "training.checkpoint_steps=7")
    assert not (folder("one").path / "checkpoints").exists()


def test_another_configuration_cannot_go_on(run) -> None:
    run("build", "toy", "--run-name", "bad", "--set", "shift=0.2", ends=1)
    said = run(
        "build", "toy", "--run-name", "bad", "--resume", "--set", "shift=0.2", "--set", "epochs=3",
        "--strategy", "head", ends=2,
    ).output  # fmt: skip
    assert "epochs: run 'bad' was begun with 15, not 3" in said
    assert "training.strategy: run 'bad' was begun with 'full', not 'head'" in said


def test_a_run_of_other_settings_is_no_traceback(run, folder) -> None:
    run("build", "toy", "--run-name", "bad", "--set", "shift=0.2", ends=1)
    known = folder("bad").read()
    folder("bad").write(known.model_copy(update={"config": {"mixup": 1}}))
    said = run("build", "toy", "--run-name", "bad", "--resume", ends=2).output
    assert "run 'bad': its settings are not those of this task and kind of data" in said


def test_a_finished_run_cannot_go_on(run) -> None:
    run("build", "toy", "--run-name", "one")
    said = run("build", "toy", "--run-name", "one", "--resume", ends=2).output
    assert "run 'one': is finished, and gave score-risk/" in said


def test_with_nothing_to_go_on_with_resume_says_so(run) -> None:
    assert "no run of it in" in run("build", "toy", "--resume", ends=2).output


def test_a_named_run_that_has_not_begun_begins(run, folder) -> None:
    run("build", "toy", "--run-name", "new", "--resume")
    assert folder("new").read().state == "finished"


def test_a_strategy_that_does_not_fit_is_one_clear_line(run) -> None:
    said = run("build", "toy", "--strategy", "lora", "--set", "training.head=[weights]", ends=2)
    assert "'lora' does not apply here: the network has no linear layer" in said.output
    assert "Traceback" not in said.output


def test_profiling_shows_where_the_time_went(run, folder) -> None:
    said = run("build", "toy", "--run-name", "one", "--profile-training").output
    assert "A step of 'train' took" in said
    for phase in ("data", "forward", "backward", "optimizer", "rest", "trace"):
        assert f"\n  {phase}" in said
    assert (folder("one").path / "profile" / "train.trace.json").exists()


def test_runs_are_listed_and_compared(run) -> None:
    run("build", "toy", "--run-name", "one", "--release", "r1")
    run("build", "toy", "--run-name", "two", "--release", "r2", "--set", "learning_rate=0.01")
    listed = run("runs").stdout
    assert "one" in listed
    assert "two" in listed
    found = json.loads(run("runs", "--json").stdout)
    assert [(each["id"], each["state"]) for each in found] == [
        ("one", "finished"),
        ("two", "finished"),
    ]
    compared = run("runs", "two", "one").stdout
    [rate] = [line for line in compared.splitlines() if line.startswith("learning_rate")]
    assert rate.split() == ["learning_rate", "0.01", "0.1"]
    assert "epochs" not in compared  # the same in both
    assert "test.auc" in compared
    assert json.loads(run("runs", "--task", "risk", "--json").stdout) == []
    assert "run 'three': there is none" in run("runs", "three", ends=2).output


def test_find_lr_suggests_a_rate_and_plots(run, tmp_path: Path) -> None:
    result = run("find-lr", "toy", "--steps", "60", "--json")
    found = json.loads(result.stdout)
    assert 1e-4 < found["learning_rate"] <= 0.1
    assert Path(found["plot"]).read_bytes().startswith(b"\x89PNG")
    assert f"--set learning_rate={found['learning_rate']:.2g}" in result.stderr
    assert not (tmp_path / "store").exists()


def test_find_lr_knows_the_tasks(run) -> None:
    assert "'nothing' is not 'toy'" in run("find-lr", "nothing", ends=2).output


def test_a_task_that_cannot_prune_says_so(run) -> None:
    assert "prune" in run("build", "toy", "--prune", "0.3", ends=2).output
