from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from gateway.telemetry.shutdown import shut_down
from gateway.telemetry.tracing import NO_TRACE, Tracing


class StuckCollector(SpanExporter):
    """Takes spans only once it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.taken: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.let.wait(30)
        self.taken.extend(span.name for span in spans)
        return SpanExportResult.SUCCESS


@pytest.fixture
def collector() -> Iterator[StuckCollector]:
    """Is let in the end, so that no thread is left."""
    collector = StuckCollector()
    yield collector
    collector.let.set()


@pytest.fixture
def provider(collector: StuckCollector) -> TracerProvider:
    """Has one span left to send."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(collector))
    provider.get_tracer("test").start_span("last").end()
    return provider


def test_what_is_left_is_sent(provider: TracerProvider, collector: StuckCollector) -> None:
    collector.let.set()
    assert shut_down(provider, timeout_s=20)
    assert collector.taken == ["last"]


def test_a_collector_that_does_not_answer_is_not_waited_for(
    provider: TracerProvider, collector: StuckCollector, caplog: pytest.LogCaptureFixture
) -> None:
    assert not shut_down(provider, timeout_s=0.05)
    assert collector.taken == []
    assert "could not be sent within 0.05 s" in caplog.text


def test_after_its_end_nothing_is_traced_and_ending_again_does_nothing(
    provider: TracerProvider, collector: StuckCollector
) -> None:
    collector.let.set()
    tracing = Tracing(provider)
    tracing.shutdown()
    tracing.shutdown()
    assert collector.taken == ["last"]
    assert tracing.start_call("a.B/C", {}) is NO_TRACE
