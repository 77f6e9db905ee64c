"""Builds what the settings ask for: who takes the spans, and which calls are traced."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from gateway.telemetry.collector import collector_exporter
from gateway.telemetry.exporter import Exporter
from gateway.telemetry.record import RecordSink
from gateway.telemetry.span import Source
from gateway.telemetry.span_queue import Limits, SpanQueue
from gateway.telemetry.trace_file import TraceFile
from gateway.telemetry.tracing import Tracing


def build_tracing(
    *,
    service_name: str = "trident-gateway",
    traces_file: Path | None = None,
    otlp_endpoint: str | None = None,
    sample_ratio: float = 1.0,
    keep_errors: bool = True,
    keep_slower_s: float | None = None,
    instance_id: str | None = None,
    environment: Mapping[str, str] = os.environ,
    sink: RecordSink | None = None,
    always_noted: bool = False,
) -> Tracing:
    """Return tracing that goes to the file, the collector, both or nowhere.

    Args:
        service_name: ``service.name`` of the spans, unless ``OTEL_SERVICE_NAME`` or
            ``OTEL_RESOURCE_ATTRIBUTES`` say otherwise.
        traces_file: A file of OTLP/JSON lines.
        otlp_endpoint: A collector: ``http://host:4318`` for OTLP/HTTP, ``host:4317`` for
            OTLP/gRPC; by default what ``OTEL_EXPORTER_OTLP_ENDPOINT`` says.
        sample_ratio: Share of the calls without a parent that are traced, in [0, 1]. A call
            with a parent is traced if the parent is.
        keep_errors: Whether calls that failed by the server's fault are traced in any case.
        keep_slower_s: From how many seconds a call is traced in any case; ``None``: never.
        instance_id: ``service.instance.id`` of the spans; by default one that nobody else has.
        environment: Of the process; ``OTEL_BSP_*`` bound what waits to be sent.
        sink: Gets every call that ends.
        always_noted: Whether somebody else reads what is noted of calls.

    Raises:
        UnknownCollector: If the collector's address or protocol cannot be understood.
    """
    exporters: list[Exporter] = []
    if traces_file is not None:
        exporters.append(TraceFile(traces_file))
    if (collector := collector_exporter(otlp_endpoint, environment)) is not None:
        exporters.append(collector)
    source = process_source(service_name, "trident.gateway", instance_id)
    limits = Limits.of(environment)
    return Tracing(
        [SpanQueue(exporter, source, limits) for exporter in exporters],
        sample_ratio=sample_ratio,
        keep_errors=keep_errors,
        keep_slower_s=keep_slower_s,
        sink=sink,
        always_noted=always_noted,
    )


def process_source(service_name: str, scope: str, instance_id: str | None = None) -> Source:
    """Return what says which process, and which part of it, made a span.

    Args:
        service_name: See :func:`process_resource`, also for ``instance_id``.
        scope: The part of the process.
        instance_id: By default one that nobody else has.
    """
    resource = process_resource(service_name, instance_id)
    return Source({**resource.attributes}, scope)  # type: ignore[dict-item]


def process_resource(service_name: str, instance_id: str | None = None) -> Resource:
    """Return what says which process spans and metrics are of.

    ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` win.

    Args:
        service_name: ``service.name``.
        instance_id: ``service.instance.id``; by default one that nobody else has.
    """
    own = {
        "service.name": service_name,
        "service.version": _own_version(),
        "service.instance.id": instance_id or str(uuid4()),
    }
    return Resource.create(own).merge(OTELResourceDetector().detect())


def _own_version() -> str:
    try:
        return version("trident")
    except PackageNotFoundError:
        return "unknown"
