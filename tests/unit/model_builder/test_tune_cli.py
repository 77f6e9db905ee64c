from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from model_builder.cli import cli
from model_builder.discovery import Tasks


@pytest.fixture
def invoke(toy_tasks, quick_torch, tmp_path):
    def run(*arguments):
        environment = {
            "TRIDENT_CACHE_DIR": str(tmp_path / "cache"),
            "TRIDENT_DATA_DIR": "",
            "COLUMNS": "160",
        }
        return CliRunner().invoke(cli, ["tune", *arguments], obj=Tasks(toy_tasks), env=environment)

    return run


def test_people_see_the_best_trials_what_mattered_and_what_to_do_next(invoke, tmp_path):
    result = invoke("toy", "--trials", "4", "--out", str(tmp_path / "study"))
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    for part in ("trial  closeness", "start  0.1324", "hyperparameter  importance", "4 trials, ",
                 f"model-builder build toy --config {tmp_path}/study/best.yaml"):  # fmt: skip
        assert part in result.stderr, part


def test_json_is_one_object_and_the_study_goes_on(invoke, tmp_path):
    out = ("--out", str(tmp_path / "study"), "--json")
    first = json.loads(invoke("toy", "--trials", "1", *out).stdout)
    second = json.loads(invoke("toy", "--trials", "2", *out).stdout)
    assert [len(found["trials"]) for found in (first, second)] == [1, 2]
    assert second["trials"][:1] == first["trials"]


def test_time_that_is_over_leaves_trials_for_the_next_time(invoke, tmp_path):
    result = invoke("toy", "--trials", "3", "--timeout", "1e-9", "--out", str(tmp_path / "study"))
    assert result.exit_code == 0
    assert "3 trials are left: the same command goes on with them." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tax"], "'tax' is not"),
        (["toy", "--trials", "0"], "Invalid value for '--trials'"),
        (["toy", "--set", "x=1"], "x: there is no such key"),
        (["toy", "--pruner", "luck"], "'luck' is not one of"),
    ],
)
def test_what_is_asked_wrongly_exits_with_2(invoke, tmp_path, arguments, message):
    result = invoke(*arguments, "--out", str(tmp_path / "study"))
    assert result.exit_code == 2, result.output
    assert message in result.stderr
