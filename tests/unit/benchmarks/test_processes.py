"""A family of processes is counted, held, let go and ended as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.serving import processes

# A child, and a grandchild whose parent is gone: it belongs to the family by its session only.
_PARENT = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
if os.fork() == 0:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    os._exit(0)
os.wait()
sum(range(3_000_000))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        yield process
        processes.end(process.pid, grace_s=1)
        process.wait()


def wait_state(pid: int, option: int) -> int:
    """Wait until a child of ours was stopped or let go on; return what happened."""
    what = os.waitid(os.P_PID, pid, option)
    assert what is not None
    return what.si_code


def test_the_family_has_orphans_too_and_all_are_ended(parent: subprocess.Popen[str]) -> None:
    members = processes.family(parent.pid)
    assert len(members) == 3
    assert processes.alive(parent.pid)
    processes.end(parent.pid)
    assert not processes.alive(parent.pid)
    assert not any(one.is_running() and processes.alive(one.pid) for one in members)


def test_cpu_time_and_memory_are_those_of_all(parent: subprocess.Popen[str]) -> None:
    found = processes.usage(parent.pid)
    assert found.cpu_s > 0
    assert len(found.resident) == 3
    assert list(found.resident) == sorted(found.resident, reverse=True)
    assert processes.usage(None) == processes.Usage(0, ())


def test_a_held_family_stands_still_and_can_still_be_ended(parent: subprocess.Popen[str]) -> None:
    processes.hold(parent.pid)
    assert wait_state(parent.pid, os.WSTOPPED) == os.CLD_STOPPED
    processes.let_go(parent.pid)
    assert wait_state(parent.pid, os.WCONTINUED) == os.CLD_CONTINUED
    processes.hold(parent.pid)
    assert wait_state(parent.pid, os.WSTOPPED) == os.CLD_STOPPED
    processes.end(parent.pid)
    assert not processes.alive(parent.pid)
