"""A real Triton in this machine's processes: found, started, kept running, stopped.

It starts with nothing loaded. When it dies it is started again on the same
ports, again with nothing loaded: whoever loaded models loads them again.
"""

from __future__ import annotations

import http.client
import itertools
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from triton_models.embedded.command import HOST, Launch
from triton_models.embedded.errors import TritonExited, TritonNotReady
from triton_models.embedded.installation import (
    Installation,
    find_installation,
    lay_out_backends,
)
from triton_models.embedded.ports import ReservedPorts
from triton_models.embedded.process import TritonProcess, last_lines

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_STABLE_S = 10.0
"""After running this long, a death is a new misfortune and the pause is short again."""

_POLL_S = 0.02

_numbers = itertools.count(1)


class EmbeddedTriton:
    """A Triton of this process; use it as a context manager, or call ``start`` and ``stop``.

    Holds its ports and a folder from the beginning, so ``stop`` it even if never started.

    Args:
        models: The model repository, a folder.
        otlp_traces_url: Where Triton sends its spans (OTLP/HTTP); None: it traces nothing.
        trace_all: Whether it traces every request. Else only those with a ``traceparent``: for
            others it does no work, but it overlooks the header of about a tenth.
        log_file: What Triton prints is appended here; None: only kept while it runs.
        restart: Whether to start it again when it dies.
        find: Finds what is installed.

    Raises:
        EmbeddedTritonError: If something is not installed.
    """

    def __init__(
        self,
        models: Path,
        *,
        otlp_traces_url: str | None = None,
        trace_all: bool = True,
        log_file: Path | None = None,
        restart: bool = True,
        find: Callable[[], Installation] = find_installation,
    ) -> None:
        installation = find()
        self._folder = tempfile.TemporaryDirectory(prefix="trident-triton-")
        folder = Path(self._folder.name)
        lay_out_backends(installation, folder)
        self._log_file = log_file or folder / "triton.log"
        self._reserved = ReservedPorts()
        self._launch = Launch(
            installation=installation,
            backends=folder,
            models=models,
            ports=self._reserved.ports,
            shared_memory_prefix=f"trident_{os.getpid()}_{next(_numbers)}_",
            otlp_traces_url=otlp_traces_url,
            trace_all=trace_all,
        )
        self._restart = restart
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # guards the three below
        self._process: TritonProcess | None = None
        self._exit_code: int | None = None
        self._failure: Exception | None = None
        self._keeper: threading.Thread | None = None

    @property
    def target(self) -> str:
        """Address of the gRPC endpoint, the same over restarts."""
        return f"{HOST}:{self._launch.ports.grpc}"

    @property
    def http_url(self) -> str:
        """Address of the HTTP endpoint, the same over restarts."""
        return f"http://{HOST}:{self._launch.ports.http}"

    @property
    def metrics_url(self) -> str:
        """Where Triton shows its metrics, for Prometheus."""
        return f"http://{HOST}:{self._launch.ports.metrics}/metrics"

    @property
    def pid(self) -> int | None:
        """Process ID of the server, or None while there is none."""
        with self._lock:
            return self._process.pid if self._process else None

    def start(self) -> None:
        """Start Triton and return at once; see :meth:`wait_ready`."""
        if self._keeper is not None:
            raise RuntimeError("an EmbeddedTriton can be started once")
        self._launch.models.mkdir(parents=True, exist_ok=True)
        self._keeper = threading.Thread(target=self._keep, name="embedded-triton", daemon=True)
        self._keeper.start()

    def wait_ready(self, timeout_s: float = 20) -> None:
        """Return when Triton answers that it is ready.

        Raises:
            TritonExited: If it ended instead and will not be started again.
            TritonNotReady: If it did not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self._answers_ready():
            self._raise_if_over()
            if time.monotonic() >= deadline:
                raise TritonNotReady(timeout_s, self.log_lines())
            self._stopping.wait(_POLL_S)

    def stop(self, grace_s: float = 10) -> None:
        """Let Triton finish what is in flight, for ``grace_s`` at most, and end it.

        Leaves no process, no shared memory and no file but ``log_file``. Can be repeated.
        """
        self._stopping.set()
        if self._keeper is not None:
            self._signal(TritonProcess.terminate)
            self._keeper.join(grace_s)
            self._signal(TritonProcess.kill)
            self._keeper.join()
        self._reserved.release()
        self._folder.cleanup()

    def log_lines(self) -> list[str]:
        """Return the last lines that Triton printed."""
        return last_lines(self._log_file)

    def __enter__(self) -> EmbeddedTriton:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _keep(self) -> None:
        """Start Triton, wait for its end, start it again: until it is stopped.

        All runs belong to this thread, which lives as long as they do (see TritonProcess).
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            start_s = time.monotonic()
            try:
                process = self._run()
            except OSError as error:
                with self._lock:
                    self._failure = error
                return
            if process is None:
                return
            exit_code = process.wait()
            with self._lock:
                self._process, self._exit_code = None, exit_code
            if self._stopping.is_set() or not self._restart:
                return
            if time.monotonic() - start_s > _STABLE_S:
                pause_s = _FIRST_PAUSE_S
            _log.warning("Triton ended with exit code %d; next start in %.1f s", exit_code, pause_s)
            if self._stopping.wait(pause_s):
                return
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _run(self) -> TritonProcess | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            self._process = TritonProcess(
                self._launch.arguments(),
                self._launch.environment(os.environ),
                self._log_file,
                self._launch.shared_memory_prefix,
            )
            return self._process

    def _signal(self, send: Callable[[TritonProcess], None]) -> None:
        with self._lock:
            if self._process is not None:
                send(self._process)

    def _raise_if_over(self) -> None:
        with self._lock:
            keeper = self._keeper
            if self._failure is not None:
                raise TritonExited(127, [str(self._failure)]) from self._failure
            ended = keeper is None or not keeper.is_alive()
            exit_code = self._exit_code
        if ended or self._stopping.is_set():
            raise TritonExited(exit_code if exit_code is not None else 0, self.log_lines())

    def _answers_ready(self) -> bool:
        if self.pid is None:
            return False
        connection = http.client.HTTPConnection(HOST, self._launch.ports.http, timeout=1)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
