"""Whether anybody wants metrics; what counts them is imported only then."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.telemetry.metrics.reporter import Metrics

ENDPOINTS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTER = "OTEL_METRICS_EXPORTER"


def metrics_wanted(listen: str | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether metrics are shown at an address or sent to a collector."""
    return listen is not None or metrics_endpoint(environment) is not None


def build_metrics(
    listen: str | None, worker: int = 0, environment: Mapping[str, str] = os.environ
) -> Metrics | None:
    """Return the metrics of a worker, or ``None`` where nobody wants any.

    Args:
        listen: Where they are shown, if anywhere.
        worker: Its number.
        environment: Of the process; says whether there is a collector.
    """
    if not metrics_wanted(listen, environment):
        return None
    from gateway.telemetry.metrics.reporter import Metrics

    return Metrics(worker)


def metrics_endpoint(environment: Mapping[str, str]) -> str | None:
    """Return where metrics are to be sent, or ``None`` if nowhere.

    ``OTEL_METRICS_EXPORTER`` can turn them off where the address is that of the traces too.
    """
    exporter = environment.get(_EXPORTER) or "otlp"
    if "otlp" not in exporter.lower().split(","):
        return None
    return next((environment[name] for name in ENDPOINTS if environment.get(name)), None)
