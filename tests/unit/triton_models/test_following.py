from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from triton_models.following import FollowingProcess

PARENT = """\
import os, sys
from triton_models.following import FollowingProcess
child = FollowingProcess(["/bin/sleep", "60"], os.environ)
print(child.pid, flush=True)
sys.stdin.read()
"""


def start(script: str, output: Path | None = None) -> FollowingProcess:
    """Start a shell script."""
    if output is None:
        return FollowingProcess(["/bin/sh", "-c", script], os.environ)
    with output.open("ab") as file:
        return FollowingProcess(["/bin/sh", "-c", script], os.environ, file)


def wait_gone(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=20)  # raises if it lives on


def test_the_exit_code_is_returned_and_both_outputs_go_to_the_file(tmp_path: Path) -> None:
    assert start("echo one; echo two >&2; exit 3", tmp_path / "log").wait() == 3
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_without_a_file_everything_is_printed_where_errors_are(
    capfd: pytest.CaptureFixture[str],
) -> None:
    start("echo one; echo two >&2").wait()
    assert capfd.readouterr() == ("", "one\ntwo\n")


def test_the_environment_is_the_one_that_was_given(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        FollowingProcess(["/usr/bin/env"], {"ONLY": "this"}, log).wait()
    lines = (tmp_path / "log").read_text().split()
    assert [line for line in lines if not line.startswith(("LC_", "PWD", "_="))] == ["ONLY=this"]


def test_a_signal_is_a_negative_exit_code() -> None:
    process = start("exec sleep 60")
    process.terminate()
    assert process.wait() == -signal.SIGTERM


def test_children_that_it_left_are_ended(tmp_path: Path) -> None:
    start(f"sleep 60 & echo $! > {tmp_path}/child; exit 1").wait()
    wait_gone(int((tmp_path / "child").read_text()))


def test_what_has_ended_can_be_told_anything() -> None:
    process = start("exit 0")
    process.wait()
    process.terminate()
    process.kill()


def test_it_is_not_reaped_by_those_who_only_tell_it_something() -> None:
    process = start("exit 7")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.terminate()
    assert process.wait() == 7


def test_it_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(timeout=20)
