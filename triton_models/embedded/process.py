"""One run of the embedded Triton: a process group that leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")

# Asks the kernel for SIGTERM when the parent dies, even by kill -9, then becomes Triton. A
# `preexec_fn` would do the same, but is not safe in a process with threads.
_FOLLOW_PARENT = """\
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):  # it died before it could be followed
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class TritonProcess:
    """A started Triton with its stubs.

    Must be created by a thread that outlives it: the kernel takes the end of
    the *thread* that started a process for the end of its parent.
    """

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
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _FOLLOW_PARENT, str(os.getpid()), *arguments],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C reaches only the gateway, which stops Triton last;
                # and whatever is left of the group can be ended at once.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process ID of the server, which is also that of its group."""
        return self._process.pid

    def wait(self) -> int:
        """Wait for the end, clean up after it and return the exit code (-N: signal N)."""
        # Not reaped before its group is dead: until then nobody else can get its ID.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.kill()
        exit_code = self._process.wait()
        folder, pattern = self._leftovers
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
        return exit_code

    def terminate(self) -> None:
        """Ask the server to finish what is in flight and end; it ends its stubs."""
        self._process.terminate()

    def kill(self) -> None:
        """End the server and all stubs at once; only before :meth:`wait` has returned."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def last_lines(log_file: Path, count: int = 50, max_bytes: int = 64 * 1024) -> list[str]:
    """Return the last lines of a log, reading no more than ``max_bytes`` of it."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - max_bytes))
            return log.read().decode("utf-8", "replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
