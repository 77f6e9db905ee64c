from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from triton_models.embedded.process import TritonProcess, last_lines

Start = Callable[[str], TritonProcess]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start a shell script in place of Triton, with ``tmp_path/shm`` for shared memory."""
    (tmp_path / "shm").mkdir()

    def start(script: str) -> TritonProcess:
        arguments = ["/bin/sh", "-c", script]
        log_file = tmp_path / "log"
        return TritonProcess(arguments, os.environ, log_file, "trident_7_", tmp_path / "shm")

    return start


def test_the_exit_code_is_returned_and_the_output_logged(start: Start, tmp_path: Path) -> None:
    assert start("echo one; echo two >&2; exit 3").wait() == 3

    assert last_lines(tmp_path / "log") == ["one", "two"]


def test_only_its_own_shared_memory_is_removed(start: Start, tmp_path: Path) -> None:
    for name in ("trident_7_a", "trident_70_b", "other"):
        (tmp_path / "shm" / name).touch()

    start("exit 0").wait()

    assert {path.name for path in (tmp_path / "shm").iterdir()} == {"trident_70_b", "other"}


def test_last_lines_reads_only_the_end_of_a_long_log(tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    log_file.write_text("".join(f"line {number}\n" for number in range(1000)))

    assert last_lines(log_file, count=2) == ["line 998", "line 999"]
    assert last_lines(log_file, max_bytes=9) == ["line 999"]


def test_a_log_that_was_never_written_has_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "log") == []
