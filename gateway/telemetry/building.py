"""Builds what the settings ask for: who takes the spans, and which calls are sampled."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from gateway.telemetry.collector import collector_exporter
from gateway.telemetry.trace_file import FileSpanExporter
from gateway.telemetry.tracing import Tracing

_EXPORT_DELAY_MS = 500


def build_tracing(
    *,
    service_name: str = "trident-gateway",
    traces_file: Path | None = None,
    otlp_endpoint: str | None = None,
    sample_ratio: float = 1.0,
    instance_id: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Tracing:
    """Return tracing that goes to the file, the collector, both or nowhere.

    No global tracer provider is set.

    Args:
        service_name: ``service.name`` of the spans, unless ``OTEL_SERVICE_NAME`` or
            ``OTEL_RESOURCE_ATTRIBUTES`` say otherwise.
        traces_file: A file of OTLP/JSON lines.
        otlp_endpoint: A collector: ``http://host:4318`` for OTLP/HTTP, ``host:4317`` for
            OTLP/gRPC; by default what ``OTEL_EXPORTER_OTLP_ENDPOINT`` says.
        sample_ratio: Share of the calls without a parent that are traced, in [0, 1]. A call
            with a parent is traced if the parent is.
        instance_id: ``service.instance.id`` of the spans; by default one that nobody else has.
        environment: Of the process.

    Raises:
        UnknownCollector: If the collector's address or protocol cannot be understood.
    """
    provider, processors = build_provider(
        service_name=service_name,
        traces_file=traces_file,
        otlp_endpoint=otlp_endpoint,
        sample_ratio=sample_ratio,
        instance_id=instance_id,
        environment=environment,
    )
    return Tracing(provider, processors)


def build_provider(
    *,
    service_name: str,
    traces_file: Path | None = None,
    otlp_endpoint: str | None = None,
    sample_ratio: float = 1.0,
    instance_id: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[TracerProvider | None, Sequence[SpanProcessor]]:
    """Return what makes the spans of a process and what takes them; see `build_tracing`."""
    exporters: list[SpanExporter] = []
    if traces_file is not None:
        exporters.append(FileSpanExporter(traces_file))
    if (collector := collector_exporter(otlp_endpoint, environment)) is not None:
        exporters.append(collector)
    if not exporters:
        return None, ()
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
        resource=process_resource(service_name, instance_id),
        shutdown_on_exit=False,
    )
    processors = [
        BatchSpanProcessor(exporter, schedule_delay_millis=_EXPORT_DELAY_MS)
        for exporter in exporters
    ]
    for processor in processors:
        provider.add_span_processor(processor)
    return provider, processors


def process_resource(service_name: str, instance_id: str | None = None) -> Resource:
    """Return what says which process made a span; ``OTEL_*`` variables win."""
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
