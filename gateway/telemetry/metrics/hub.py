"""Adds up the metrics of all workers: in their supervisor, which has the one place to show them."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.telemetry.metrics.instruments import WORKERS
from gateway.telemetry.metrics.readings import Gauges, Read, Readings, merged
from gateway.telemetry.metrics.reporter import SOCKET
from gateway.telemetry.metrics.snapshot import Snapshot, snapshot
from gateway.telemetry.metrics.tally import Tally
from gateway.telemetry.metrics.wire import ASK, Report, bytes_to_report, receive_message

_log = logging.getLogger(__name__)

_EVERY_S = 5.0
"""A worker that is killed takes what happened since it was asked last into its grave."""

_ANSWER_S = 1.0
"""A worker that takes longer is shown as it was."""

_TAKERS = 8
"""Sources that are asked at a time."""

Take = Callable[[], tuple[Tally, Gauges]]
"""Gives what happened since the last time, and how it is now; called on a thread."""


def _taken(take: Take) -> tuple[Tally, Gauges]:
    try:
        return take()
    except Exception:  # what cannot be had harms no other
        _log.exception("Metrics could not be taken from their source")
        return Tally(), {}


class _Worker:
    """One run of a worker: its connection, and how it is."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.gauges: Gauges | None = None  # until its first report
        self.answered = threading.Event()
        self.answered.set()

    def ask(self) -> None:
        """Ask for a report, unless it still owes one."""
        if self.answered.is_set():
            self.answered.clear()
            try:
                self.connection.send(ASK)
            except OSError:  # its end is seen where it is read
                self.answered.set()


class MetricsHub:
    """What all workers report, since this gateway began.

    Args:
        folder: Where workers find the socket.
        every_s: How often they are asked, if nobody wants to know.
        answer_s: How long they are waited for.
    """

    def __init__(
        self, folder: Path, every_s: float = _EVERY_S, answer_s: float = _ANSWER_S
    ) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen()
        self._every_s = every_s
        self._answer_s = answer_s
        self._since_ns = time.time_ns()
        self._lock = threading.Lock()  # guards the two below
        self._tally = Tally()
        self._workers: list[_Worker] = []
        self._gathering = threading.Lock()
        self._own = Readings()
        self._sources: list[Take] = []
        self._closes: list[Callable[[], None]] = []
        self._takers = ThreadPoolExecutor(_TAKERS, "metrics-take")
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._accept, name="metrics-workers", daemon=True),
            threading.Thread(target=self._keep_gathering, name="metrics-gather", daemon=True),
        ]
        self._readers: list[threading.Thread] = []

    def gauges(self, read: Read) -> None:
        """Read these numbers of the supervisor, too."""
        self._own.add(read)

    def add_source(self, take: Take, close: Callable[[], None] | None = None) -> None:
        """Take what this has, too; ``close`` it in the end."""
        self._sources.append(take)
        if close is not None:
            self._closes.append(close)

    def start(self) -> None:
        """Take reports from now on."""
        for thread in self._threads:
            thread.start()

    def wait_workers(self) -> None:
        """Take what the workers, which have ended, said last."""
        deadline = time.monotonic() + self._answer_s
        for thread in list(self._readers):
            thread.join(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """Take no more."""
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(self._answer_s)
        self._listener.close()
        self._takers.shutdown(wait=False)
        for close in self._closes:
            close()

    def gather(self) -> Snapshot:
        """Ask everybody, and return all there is. At most about a second and a half."""
        with self._gathering:
            return self._snapshot(self._ask_all())

    def _ask_all(self) -> Gauges:
        """Count what workers and sources have to tell; return how the sources are."""
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.ask()
        deadline = time.monotonic() + self._answer_s
        gauges = self._take_sources()
        for worker in workers:
            worker.answered.wait(max(0.0, deadline - time.monotonic()))
        return gauges

    def _take_sources(self) -> Gauges:
        gauges: Gauges = {}
        # Side by side: one that hangs costs the others no time.
        for tally, now in self._takers.map(_taken, self._sources):
            gauges |= now
            with self._lock:
                self._tally.add(tally)
        return gauges

    def _snapshot(self, of_sources: Gauges) -> Snapshot:
        with self._lock:
            own = self._own.take(self._tally)
            known = [one.gauges for one in self._workers if one.gauges is not None]
            gauges = merged(known) | own | of_sources
            gauges[WORKERS, ()] = float(len(known))
            return snapshot(self._tally, gauges, self._since_ns)

    def _keep_gathering(self) -> None:
        while not self._stopping.wait(self._every_s):
            with self._gathering:
                self._ask_all()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # it was closed
                return
            worker = _Worker(connection)
            with self._lock:
                self._workers.append(worker)
            reader = threading.Thread(target=self._listen, args=(worker,), daemon=True)
            reader.start()
            self._readers = [one for one in self._readers if one.is_alive()] + [reader]

    def _listen(self, worker: _Worker) -> None:
        """Take the reports of a worker until it ends."""
        with worker.connection:
            try:
                while (data := receive_message(worker.connection)) is not None:
                    self._hear(worker, bytes_to_report(data))
                    worker.answered.set()
            except (OSError, ValueError) as error:
                _log.warning("A worker's metrics could not be understood: %s", error)
        with self._lock:
            self._workers.remove(worker)
        worker.answered.set()

    def _hear(self, worker: _Worker, report: Report) -> None:
        with self._lock:
            self._tally.add(report.tally)
            worker.gauges = report.gauges
