"""The metrics of a worker: takes its calls, reads its numbers, reports them to its supervisor."""

from __future__ import annotations

import logging
import resource
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gateway.telemetry.metrics.instruments import CPU_TIME, MEMORY
from gateway.telemetry.metrics.readings import Read, Reading, Readings
from gateway.telemetry.metrics.recorder import Recorder
from gateway.telemetry.metrics.wire import ASK, Report, report_to_bytes, send_message
from gateway.telemetry.record import RecordSink
from triton_models.heap import resident_bytes

_log = logging.getLogger(__name__)

SOCKET = "metrics"
"""In the supervisor's folder."""

_FOLD_S = 0.25
_SEND_S = 2.0


class Metrics:
    """The metrics of one worker.

    One thread counts what has come, a few times a second, and answers whoever asks for a report.
    Whatever happens to the supervisor, nothing here fails a call.

    Args:
        worker: Its number.
    """

    def __init__(self, worker: int = 0) -> None:
        self._recorder = Recorder()
        self._readings = Readings()
        self._connection: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self.gauges(lambda: _of_process(worker))

    @property
    def sink(self) -> RecordSink:
        """Takes the record of each call that has ended, in the event loop."""
        return self._recorder.sink

    @property
    def pending(self) -> int:
        """Calls that wait to be counted."""
        return self._recorder.pending

    def gauges(self, read: Read) -> None:
        """Read these numbers for each report; ``read`` is called on the thread."""
        self._readings.add(read)

    def report(self) -> Report:
        """Return what happened since the last report, and how things are now."""
        self._recorder.fold()
        tally = self._recorder.take()
        return Report(tally, self._readings.take(tally))

    def start(self, folder: Path) -> None:
        """Report to the supervisor, at the socket in its folder."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(folder / SOCKET))
            self._connection = connection
        except OSError as error:
            connection.close()
            _log.warning("Nobody takes the metrics: %s", error)
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send the last report. Call it when no call is in flight any more; can be repeated."""
        self._stopping.set()
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RD)  # wakes the thread
        if self._thread is not None:
            self._thread.join(_SEND_S)

    def _run(self) -> None:
        if self._connection is not None:
            with self._connection:
                try:
                    self._serve(self._connection)
                except OSError as error:
                    _log.warning("The supervisor takes no more metrics: %s", error)
        while not self._stopping.wait(_FOLD_S):  # nobody listens: at least nothing piles up
            self.report()

    def _serve(self, connection: socket.socket) -> None:
        """Answer until the worker stops or the supervisor does; then report once more."""
        while not self._stopping.is_set():
            connection.settimeout(_FOLD_S)
            try:
                asked = connection.recv(1)
            except TimeoutError:
                self._recorder.fold()
                continue
            if asked != ASK:
                break
            self._send(connection)
        self._send(connection)

    def _send(self, connection: socket.socket) -> None:
        connection.settimeout(_SEND_S)
        send_message(connection, report_to_bytes(self.report()))


def _of_process(worker: int) -> Iterable[Reading]:
    labels = (str(worker),)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield Reading(CPU_TIME, labels, usage.ru_utime + usage.ru_stime)
    yield Reading(MEMORY, labels, resident_bytes())
