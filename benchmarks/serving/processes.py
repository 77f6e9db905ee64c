"""What a process and all that it started use, and how to hold, let go and end them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

_AFTERWARDS_S = 0.3
"""For the others, when the first process has ended."""
_KILLED_S = 5.0
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied)


def family(pid: int) -> list[psutil.Process]:
    """Return a process with its descendants, and whoever is left of its session."""
    found: dict[int, psutil.Process] = {}
    with contextlib.suppress(*_GONE):
        root = psutil.Process(pid)
        found = {one.pid: one for one in (root, *root.children(recursive=True))}
    for one in psutil.process_iter():
        # A process whose parent died belongs to nobody's children, but still to its session.
        with contextlib.suppress(ProcessLookupError, *_GONE):
            if one.pid not in found and os.getsid(one.pid) == pid:
                found[one.pid] = one
    return list(found.values())


@dataclass(frozen=True)
class Usage:
    """CPU time so far, in seconds, and resident memory of each process now, in bytes."""

    cpu_s: float
    resident: tuple[int, ...]


def usage(pid: int | None) -> Usage:
    """Return what a process and its family use; nothing for None."""
    if pid is None:
        return Usage(0, ())
    cpu_s, resident = 0.0, []
    for one in family(pid):
        with contextlib.suppress(*_GONE), one.oneshot():
            times = one.cpu_times()
            # Of children that ended, the parent knows; of those that run, they themselves.
            cpu_s += times.user + times.system + times.children_user + times.children_system
            resident.append(one.memory_info().rss)
    return Usage(cpu_s, tuple(sorted(resident, reverse=True)))


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except _GONE:
        return False


def hold(pid: int) -> None:
    """Stop a family from using the machine until :func:`let_go`."""
    _signal(family(pid), signal.SIGSTOP)


def let_go(pid: int) -> None:
    """Let a family run on."""
    _signal(family(pid), signal.SIGCONT)


def ask_to_end(pid: int) -> None:
    """Send SIGTERM to the first process of a family, and do not wait."""
    members = family(pid)
    _signal(members, signal.SIGCONT)
    _signal([one for one in members if one.pid == pid], signal.SIGTERM)


def end(pid: int, grace_s: float = 10) -> None:
    """End a family: ask its first process, wait, and kill what is left."""
    members = family(pid)
    _signal(members, signal.SIGCONT)
    first = [one for one in members if one.pid == pid]
    _signal(first, signal.SIGTERM)
    _wait_ended(first, grace_s)
    left = _wait_ended(members, _AFTERWARDS_S)
    left |= {one for one in family(pid) if alive(one.pid)}
    _signal(left, signal.SIGKILL)
    _wait_ended(left, _KILLED_S)


def _wait_ended(members: Iterable[psutil.Process], timeout_s: float) -> set[psutil.Process]:
    """Return who still runs when all ended or the time is over.

    Not ``psutil.wait_procs``: an orphan that ended is there until whoever inherited it looks.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        left = {one for one in members if one.is_running() and alive(one.pid)}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _signal(members: Iterable[psutil.Process], number: int) -> None:
    for one in members:
        with contextlib.suppress(*_GONE):
            one.send_signal(number)


def megabytes(resident: Sequence[int]) -> list[float]:
    """Return bytes as MB (10⁶)."""
    return [round(value / 1e6, 1) for value in resident]
