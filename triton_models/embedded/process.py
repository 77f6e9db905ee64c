"""One run of the embedded Triton: a process group that leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from triton_models.following import FollowingProcess

SHARED_MEMORY = Path("/dev/shm")


class TritonProcess(FollowingProcess):
    """A started Triton with its stubs."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log_file: Path,
        shared_memory_prefix: str,
        shared_memory: Path = SHARED_MEMORY,
    ) -> None:
        self._leftovers = (shared_memory, f"{shared_memory_prefix}*")
        with log_file.open("ab") as log:
            super().__init__(arguments, environment, log)

    def wait(self) -> int:
        """Wait for the end, clean up after it and return the exit code (-N: signal N)."""
        exit_code = super().wait()
        folder, pattern = self._leftovers
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
        return exit_code


def last_lines(log_file: Path, count: int = 50, max_bytes: int = 64 * 1024) -> list[str]:
    """Return the last lines of a log, reading no more than ``max_bytes`` of it."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - max_bytes))
            return log.read().decode("utf-8", "replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
