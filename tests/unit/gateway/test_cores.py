from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.cores import usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with more, of which this process may use eight."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4, 12)))


def version_2(folder: Path, content: str) -> None:
    (folder / "cpu.max").write_text(content)


def version_1(folder: Path, quota: str, period: str = "100000") -> None:
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu" / "cpu.cfs_period_us").write_text(f"{period}\n")


def test_without_a_limit_all_cores_that_the_process_may_run_on_count(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("max 100000\n", 8),
        ("400000 100000\n", 4),
        ("250000 100000\n", 2),
        ("50000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("nonsense\n", 8),
        ("", 8),
        ("1 0\n", 8),
    ],
)
def test_the_limit_of_a_container_counts(content: str, cores: int, tmp_path: Path) -> None:
    version_2(tmp_path, content)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("300000", 3), ("10000", 1)])
def test_so_does_one_of_the_older_kind(quota: str, cores: int, tmp_path: Path) -> None:
    version_1(tmp_path, quota)
    assert usable_cores(tmp_path) == cores


def test_on_this_machine_there_is_at_least_one() -> None:
    assert usable_cores() >= 1
