"""Whether anybody wants metrics. It imports nothing: most gateways are asked only this."""

from __future__ import annotations

import os
from collections.abc import Mapping

ENDPOINTS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTER = "OTEL_METRICS_EXPORTER"


def metrics_wanted(listen: str | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether metrics are shown at an address or sent to a collector."""
    return listen is not None or metrics_endpoint(environment) is not None


def metrics_endpoint(environment: Mapping[str, str]) -> str | None:
    """Return where metrics are to be sent, or ``None`` if nowhere.

    ``OTEL_METRICS_EXPORTER`` can turn them off where the address is that of the traces too.
    """
    exporter = environment.get(_EXPORTER) or "otlp"
    if "otlp" not in exporter.lower().split(","):
        return None
    return next((environment[name] for name in ENDPOINTS if environment.get(name)), None)
