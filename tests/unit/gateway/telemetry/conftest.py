"""Tracing whose spans stay in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from gateway.telemetry.tracing import Tracing


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Holds the finished spans."""
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Iterator[Tracing]:
    """Traces whatever no parent forbids."""
    processor = SimpleSpanProcessor(exporter)
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracing = Tracing(provider, [processor])
    yield tracing
    tracing.shutdown()
