"""Sends metrics to a collector, now and then, on a thread of its own.

What is sent are totals since the beginning. So nothing is kept for a collector that is away: the
next totals that arrive have all that was missed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.resources import Resource

from gateway.telemetry.metrics.otlp import metrics_data
from gateway.telemetry.metrics.snapshot import Snapshot

_log = logging.getLogger(__name__)
_EXPORTERS = logging.getLogger("opentelemetry.exporter")
"""Of those that the exporters have; they say why, each time that they fail."""

_EVERY_MS = 60_000
_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"


class MetricsSender:
    """Sends what is gathered, until it is stopped.

    Args:
        exporter: Sends.
        gather: Gives all there is.
        resource: What the metrics are of.
        every_s: Time from one export to the next.
    """

    def __init__(
        self,
        exporter: MetricExporter,
        gather: Callable[[], Snapshot],
        resource: Resource,
        every_s: float = _EVERY_MS / 1000,
    ) -> None:
        self._exporter = exporter
        self._gather = gather
        self._resource = resource
        self._every_s = every_s
        self._stopping = threading.Event()
        # A collector that hangs holds up nobody: not even the end of this process.
        self._thread = threading.Thread(target=self._run, name="metrics-send", daemon=True)

    def start(self) -> None:
        """Send from now on."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Send once more if it had started, within ``timeout_s``, and no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            _log.warning("The last metrics could not be sent within %g s", timeout_s)
        self._exporter.shutdown()

    def _run(self) -> None:
        failing = False
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(self._every_s)
            failed = not self._send()
            if failed != failing and not stopping:
                text = "cannot be sent; tried again in silence" if failed else "are sent again"
                _log.warning("Metrics %s", text)
                _EXPORTERS.setLevel(logging.CRITICAL if failed else logging.NOTSET)
            failing = failed
        _EXPORTERS.setLevel(logging.NOTSET)

    def _send(self) -> bool:
        try:
            data = metrics_data(self._gather(), self._resource)
            return self._exporter.export(data) is MetricExportResult.SUCCESS
        except Exception:  # whatever an exporter raises ends no thread
            _log.exception("Metrics could not be exported")
            return False


def export_interval_s(environment: Mapping[str, str]) -> float:
    """Return the seconds from one export to the next, as the standard variable says.

    What is no number above 0 counts as not set.
    """
    text = environment.get(_INTERVAL) or str(_EVERY_MS)
    try:
        interval_ms = float(text)
    except ValueError:
        interval_ms = 0
    if interval_ms <= 0:
        _log.warning("%s must be a number of ms above 0, got %r", _INTERVAL, text)
        interval_ms = _EVERY_MS
    return interval_ms / 1000
