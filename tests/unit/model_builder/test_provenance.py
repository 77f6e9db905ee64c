from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest
import torch

from model_builder.provenance import git_commit, versions


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "code.py").write_text("1")
    for arguments in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-qm", "m"),
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    return tmp_path


def test_names_the_commit_and_whether_the_code_was_changed(checkout: Path) -> None:
    commit = git_commit(checkout / "package")
    assert len(commit) == 40
    (checkout / "notes.txt").write_text("beside the code")
    assert git_commit(checkout / "package") == commit
    (checkout / "package" / "code.py").write_text("2")
    assert git_commit(checkout / "package") == f"{commit}+changed"


def test_a_package_inside_somebody_elses_repository_has_no_commit(checkout: Path) -> None:
    installed = checkout / "site-packages"
    installed.mkdir()
    (installed / "code.py").write_text("1")
    assert git_commit(installed) == ""


def test_without_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path) == ""


def test_versions_are_those_that_run() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__
