from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model_builder.errors import RunUnusable
from model_builder.tracking.runs import (
    Run,
    RunFolder,
    all_runs,
    check_run_id,
    differences,
    flat,
    new_run_id,
)


def make(name: str, minute: int = 0, **facts) -> Run:
    started = datetime(2026, 11, 23, 10, minute, tzinfo=UTC)
    given = {"task": "risk", "data": "d", "data_sha256": "0", "config": {}, **facts}
    return Run(id=name, started=started, **given)


def test_names_are_unique_and_can_name_a_folder() -> None:
    assert new_run_id("risk") != new_run_id("risk")
    assert check_run_id(new_run_id("risk"))


@pytest.mark.parametrize("name", ["", "a/b", "..", ".a", "a b", "a" * 65])
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="run name"):
        check_run_id(name)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = make("a", metrics={"test": {"auc": 0.9}})
    RunFolder(tmp_path, "a").write(run)
    assert RunFolder(tmp_path, "a").read() == run
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["run.json"]


def test_runs_come_oldest_first_without_what_is_none(tmp_path: Path) -> None:
    for name, minute in [("b", 5), ("a", 9), ("c", 1)]:
        RunFolder(tmp_path, name).write(make(name, minute))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "run.json").write_text("{")
    assert [run.id for run in all_runs(tmp_path)] == ["c", "b", "a"]


def test_a_run_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunUnusable, match=r"run 'a': there is none in "):
        RunFolder(tmp_path, "a").read()


def test_a_run_whose_process_is_gone_was_interrupted() -> None:
    here = socket.gethostname()
    assert make("a", host=here, process=os.getpid()).shown_state == "running"
    assert make("a", host=here, process=2**22 + 1).shown_state == "interrupted"
    assert make("a", host="elsewhere", process=2**22 + 1).shown_state == "running"
    assert make("a", host=here, process=2**22 + 1, state="finished").shown_state == "finished"


def test_configurations_are_compared_by_their_whole_names() -> None:
    one = {"seed": 0, "training": {"optimizer": "adamw", "clip_norm": 1.0}}
    other = {"seed": 0, "training": {"optimizer": "lion", "clip_norm": 1.0}, "width": 4}
    assert differences(one, other) == ["training.optimizer", "width"]
    assert flat(one) == {"seed": 0, "training.optimizer": "adamw", "training.clip_norm": 1.0}
