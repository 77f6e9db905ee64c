"""How many processor cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = _CGROUPS) -> int:
    """Return the cores that this process may run on, or the limit of its container if lower."""
    cores = len(os.sched_getaffinity(0))
    limit = _limit(cgroups)
    return cores if limit is None else max(1, min(cores, int(limit)))


def _limit(cgroups: Path) -> float | None:
    """Return the limit in cores, from cgroups of either version, as a container sees its own."""
    try:
        quota, period = (cgroups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroups / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroups / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return limit if limit > 0 else None  # -1: none


def triton_instances(cores: int) -> int:
    """Return how many instances of each model are best where Triton shares the gateway's cores.

    Measured with 2 cores; see docs/performance.md, "The embedded backend".
    """
    return max(1, min(cores, 2))
