from __future__ import annotations

from pathlib import Path

import pytest

from model_builder.discovery import Tasks


def test_a_folder_with_a_task_is_a_task(toy_tasks: str) -> None:
    tasks = Tasks(toy_tasks)
    assert tasks.names() == ["toy"]
    assert tasks.summary("toy") == "Learns a linear rule from two numbers and a category."
    assert tasks.load("toy").name == "toy"


def test_a_new_folder_is_found_without_being_named_anywhere(tmp_path: Path, monkeypatch) -> None:
    for place in ("found", "found/sums", "found/plain"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "__init__.py").write_text('"""Adds."""\n')
    (tmp_path / "found/sums/task.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Tasks("found").names() == ["sums"]
    assert Tasks("found").summary("sums") == "Adds."


def test_a_package_that_is_not_there_has_no_tasks() -> None:
    assert Tasks("no_such_package").names() == []


@pytest.mark.parametrize("name", ["diagnosis", "recsys", "risk"])
def test_our_own_tasks_are_called_what_their_folders_are(name: str) -> None:
    task = Tasks().load(name)
    assert task.name == name
    assert Tasks().summary(name)
    assert task.config_type().seed == 0


def test_our_own_tasks_are_these() -> None:
    assert Tasks().names() == ["diagnosis", "recsys", "risk"]
