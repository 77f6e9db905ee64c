"""Builds what gathers, shows and sends the metrics of a gateway, as the settings ask for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gateway.security.hiding import without_secrets
from gateway.telemetry.building import process_resource
from gateway.telemetry.metrics.collector import metrics_exporter
from gateway.telemetry.metrics.endpoint import MetricsEndpoint, Probe
from gateway.telemetry.metrics.hub import MetricsHub
from gateway.telemetry.metrics.sending import MetricsSender, export_interval_s
from gateway.telemetry.metrics.traced_steps import TracedSteps
from gateway.telemetry.metrics.wanted import metrics_endpoint


class GatewayMetrics:
    """The metrics of a whole gateway, in its supervisor: gathered, shown, sent.

    It listens from the beginning. Stop it also if it never started, and after the workers.

    Args:
        folder: Where workers find it.
        listen: Where to show them, ``host:port``; ``None``: nowhere.
        instance_id: ``service.instance.id``; by default one that nobody else has.
        environment: Of the process; says whether there is a collector.
        probes: By path, what is shown beside them: why something is not well.

    Attributes:
        hub: Gathers.
        steps: Takes the spans of an embedded Triton.

    Raises:
        OSError: If the address is in use or not of this machine.
        UnknownCollector: If the collector's address cannot be understood.
    """

    def __init__(
        self,
        folder: Path,
        listen: str | None,
        instance_id: str | None = None,
        environment: Mapping[str, str] = os.environ,
        probes: Mapping[str, Probe] | None = None,
    ) -> None:
        resource = process_resource("trident-gateway", instance_id)
        exporter = metrics_exporter(environment)
        self.hub = MetricsHub(folder)
        self.steps = TracedSteps()
        self.hub.add_source(self.steps.take)
        self._stopped = False
        self._endpoint: MetricsEndpoint | None = None
        self._sender: MetricsSender | None = None
        if exporter is not None:
            every_s = export_interval_s(environment)
            self._sender = MetricsSender(exporter, self.hub.gather, resource, every_s)
        if listen is not None:
            texts = {key: str(value) for key, value in resource.attributes.items()}
            try:
                self._endpoint = MetricsEndpoint(listen, self.hub.gather, texts, probes or {})
            except OSError:
                self.stop()
                raise
        self._collector = metrics_endpoint(environment)

    @property
    def where(self) -> str:
        """Where people find them."""
        places = (self._endpoint.url if self._endpoint else None, self._collector)
        return ", ".join(without_secrets(place) for place in places if place)

    def start(self) -> None:
        """Gather from now on."""
        self.hub.start()
        if self._endpoint is not None:
            self._endpoint.start()
        if self._sender is not None:
            self._sender.start()

    def stop(self) -> None:
        """Send what the workers said last, and no more. Can be repeated."""
        if self._stopped:
            return
        self._stopped = True
        self.hub.wait_workers()
        if self._sender is not None:
            self._sender.stop()
        if self._endpoint is not None:
            self._endpoint.stop()
        self.hub.stop()
