"""Metrics as OpenTelemetry's exporters take them: exponential histograms, running totals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.telemetry.metrics.grid import SCALE
from gateway.telemetry.metrics.snapshot import Family, HistogramPoint, Snapshot
from gateway.telemetry.metrics.tally import Exemplar

_SCOPE = InstrumentationScope("trident.gateway")
_CUMULATIVE = AggregationTemporality.CUMULATIVE
_NONE = Buckets(0, [])
_UNKNOWN: Any = None  # of values of which only their buckets are known
_NO_SPAN_ID = 0  # the exporter leaves out a trace ID that has no span ID beside it


def metrics_data(snapshot: Snapshot, resource: Resource) -> MetricsData:
    """Return a snapshot as the SDK's data, for an exporter."""
    metrics = [_metric(family, snapshot) for family in snapshot.families]
    scope = ScopeMetrics(_SCOPE, metrics, schema_url="")
    return MetricsData([ResourceMetrics(resource, [scope], schema_url="")])


def _metric(family: Family, snapshot: Snapshot) -> Metric:
    instrument = family.instrument
    data: Any
    if instrument.kind == "histogram":
        times = {
            "start_time_unix_nano": snapshot.since_ns,
            "time_unix_nano": snapshot.now_ns,
            "min": _UNKNOWN,
            "max": _UNKNOWN,
        }
        if instrument.grid.explicit:
            exponential = [_exponential(point, times) for point in family.histograms]
            data = ExponentialHistogram(exponential, _CUMULATIVE)
        else:
            data = Histogram([_total(point, times) for point in family.histograms], _CUMULATIVE)
    else:
        numbers = [
            NumberDataPoint(
                attributes=point.attributes,
                start_time_unix_nano=snapshot.since_ns,
                time_unix_nano=snapshot.now_ns,
                value=point.value,
            )
            for point in family.numbers
        ]
        counter = instrument.kind == "counter"
        data = Sum(numbers, _CUMULATIVE, is_monotonic=True) if counter else Gauge(numbers)
    return Metric(instrument.name, instrument.description, instrument.unit, data)


def _exponential(point: HistogramPoint, times: Mapping[str, Any]) -> ExponentialHistogramDataPoint:
    exponential = point.exponential
    return ExponentialHistogramDataPoint(
        attributes=point.attributes,
        count=point.count,
        sum=point.sum,
        scale=SCALE,
        zero_count=exponential.zero_count,
        positive=Buckets(exponential.first, exponential.counts.tolist()),
        negative=_NONE,
        flags=0,
        exemplars=[_exemplar(one) for one in point.exemplars.values()],
        **times,
    )


def _total(point: HistogramPoint, times: Mapping[str, Any]) -> HistogramDataPoint:
    """A histogram of one bucket: only count and sum are known."""
    return HistogramDataPoint(
        attributes=point.attributes,
        count=point.count,
        sum=point.sum,
        bucket_counts=[point.count],
        explicit_bounds=[],
        **times,
    )


def _exemplar(exemplar: Exemplar) -> SdkExemplar:
    return SdkExemplar(
        {}, exemplar.value, round(exemplar.time_s * 1e9), _NO_SPAN_ID, exemplar.trace_id
    )
