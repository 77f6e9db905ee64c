"""A process that ends when whoever started it does, and leaves no children behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO

# Asks the kernel for SIGTERM when the parent dies, even by kill -9, then becomes the program. A
# `preexec_fn` would do the same, but is not safe in a process with threads.
_FOLLOW_PARENT = """\
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):  # it died before it could be followed
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


_STDERR = 2


class FollowingProcess:
    """A started program, in a process group of its own.

    Must be created by a thread that outlives it: the kernel takes the end of
    the *thread* that started a process for the end of its parent. Any thread
    may wait for it or end it.

    Args:
        arguments: The program, as a path, and its arguments.
        environment: All of its environment.
        output: Where it prints; None: where this process reports errors.
        errors: The file descriptor to which it reports errors, if that is to be another.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: IO[bytes] | None = None,
        errors: int | None = None,
    ) -> None:
        self._lock = threading.Lock()  # held while its ID is used or given back
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _FOLLOW_PARENT, str(os.getpid()), *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=_STDERR if output is None else output,
            stderr=errors if output is None or errors is not None else subprocess.STDOUT,
            # A group of its own: Ctrl-C reaches only the gateway, which stops its processes in
            # their order; and whatever is left of the group can be ended at once.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process ID, which is also that of its group."""
        return self._process.pid

    def wait(self) -> int:
        """Wait for the end, end what is left of the group, return the exit code (-N: signal N)."""
        # Not reaped before its group is dead: until then nobody else can get its ID.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.kill()
        with self._lock:
            return self._process.wait()

    def terminate(self) -> None:
        """Ask the process to finish what is in flight and end."""
        self._send(os.kill, signal.SIGTERM)

    def kill(self) -> None:
        """End the process and its group at once."""
        self._send(os.killpg, signal.SIGKILL)

    def _send(self, send: Callable[[int, int], None], number: signal.Signals) -> None:
        with self._lock:
            # Not `Popen.send_signal`, which would reap it under the hands of `wait`.
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    send(self.pid, number)
