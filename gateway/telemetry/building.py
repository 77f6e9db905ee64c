"""Builds what the settings ask for: who takes the spans, and which calls are sampled."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from gateway.telemetry.trace_file import FileSpanExporter, TraceFile
from gateway.telemetry.tracing import Tracing

_EXPORT_DELAY_MS = 500


def build_tracing(
    *,
    service_name: str,
    traces_file: Path | None = None,
    otlp_endpoint: str | None = None,
    sample_ratio: float = 1.0,
) -> Tracing:
    """Return tracing that goes to the file, the collector, both or nowhere.

    Args:
        service_name: ``service.name`` of the spans, unless ``OTEL_SERVICE_NAME`` says otherwise.
        traces_file: A file of OTLP/JSON lines.
        otlp_endpoint: A collector: ``http://host:4318`` for OTLP/HTTP, ``host:4317`` for OTLP/gRPC.
        sample_ratio: Share of the calls without a sampled parent that are traced, in [0, 1].
    """
    exporters: list[SpanExporter] = []
    if traces_file is not None:
        exporters.append(FileSpanExporter(TraceFile(traces_file)))
    if otlp_endpoint is not None:
        exporters.append(otlp_exporter(otlp_endpoint))
    if not exporters:
        return Tracing(None)
    # What the environment says (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) wins.
    resource = Resource(
        {
            "service.name": service_name,
            "service.version": _own_version(),
            "service.instance.id": str(uuid4()),
        }
    ).merge(Resource.create())
    if resource.attributes.get("service.name", "").__str__().startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": service_name}))
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
        resource=resource,
        shutdown_on_exit=False,
    )
    for exporter in exporters:
        provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=_EXPORT_DELAY_MS)
        )
    return Tracing(provider)


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Return the exporter that fits a collector's address."""
    if endpoint.startswith(("http://", "https://")):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        url = endpoint if endpoint.endswith("/v1/traces") else f"{endpoint.rstrip('/')}/v1/traces"
        return OTLPSpanExporter(endpoint=url)
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
        OTLPSpanExporter as GrpcExporter,
    )

    return GrpcExporter(endpoint=endpoint, insecure=True)


def _own_version() -> str:
    try:
        return version("trident")
    except PackageNotFoundError:
        return "unknown"
