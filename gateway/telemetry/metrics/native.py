"""Prometheus' protobuf exposition: the only one of its formats that has native histograms.

There is no package with these messages that works with a protobuf of today, so the part that is
needed is described here, by the names and numbers of ``io.prometheus.client``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.proto import serialize_length_prefixed
from google.protobuf.timestamp_pb2 import DESCRIPTOR as TIMESTAMP

from gateway.telemetry.metrics.grid import SCALE, Exponential, Grid
from gateway.telemetry.metrics.instruments import prometheus_label
from gateway.telemetry.metrics.snapshot import Family, HistogramPoint, Snapshot, buckets
from gateway.telemetry.metrics.tally import Exemplar

PROTOBUF_CONTENT_TYPE = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

_PACKAGE = "io.prometheus.client"
_COUNTER, _GAUGE, _HISTOGRAM = 0, 1, 4  # of the enum MetricType

_KINDS = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "sint32": FieldDescriptorProto.TYPE_SINT32,
    "sint64": FieldDescriptorProto.TYPE_SINT64,
    "int32": FieldDescriptorProto.TYPE_INT32,
}

_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "LabelPair": {"name": (1, "string"), "value": (2, "string")},
    "Number": {"value": (1, "double")},
    "Exemplar": {
        "label": (1, "*LabelPair"),
        "value": (2, "double"),
        "timestamp": (3, "google.protobuf.Timestamp"),
    },
    "Bucket": {
        "cumulative_count": (1, "uint64"),
        "upper_bound": (2, "double"),
        "exemplar": (3, "Exemplar"),
    },
    "BucketSpan": {"offset": (1, "sint32"), "length": (2, "uint32")},
    "Histogram": {
        "sample_count": (1, "uint64"),
        "sample_sum": (2, "double"),
        "bucket": (3, "*Bucket"),
        "schema": (5, "sint32"),
        "zero_threshold": (6, "double"),
        "zero_count": (7, "uint64"),
        "positive_span": (12, "*BucketSpan"),
        "positive_delta": (13, "*sint64"),
        "created_timestamp": (15, "google.protobuf.Timestamp"),
        "exemplars": (16, "*Exemplar"),
    },
    "Metric": {
        "label": (1, "*LabelPair"),
        "gauge": (2, "Number"),
        "counter": (3, "Number"),
        "histogram": (7, "Histogram"),
    },
    # An enum travels as an int32.
    "MetricFamily": {
        "name": (1, "string"),
        "help": (2, "string"),
        "type": (3, "int32"),
        "metric": (4, "*Metric"),
    },
}
"""Field number and type of each field; ``*``: repeated."""


def _build() -> Any:
    file = FileDescriptorProto(
        name="io/prometheus/client/metrics.proto",
        package=_PACKAGE,
        syntax="proto2",
        dependency=["google/protobuf/timestamp.proto"],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated, kind = kind.startswith("*"), kind.removeprefix("*")
            added = message.field.add(
                name=field,
                number=number,
                label=FieldDescriptorProto.LABEL_REPEATED
                if repeated
                else FieldDescriptorProto.LABEL_OPTIONAL,
            )
            if kind in _KINDS:
                added.type = _KINDS[kind]
            else:
                added.type = FieldDescriptorProto.TYPE_MESSAGE
                added.type_name = f".{kind}" if "." in kind else f".{_PACKAGE}.{kind}"
    pool = DescriptorPool()
    timestamp = FileDescriptorProto()
    TIMESTAMP.CopyToProto(timestamp)
    pool.Add(timestamp)
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


METRIC_FAMILY: Any = _build()
"""The message of one metric."""


def protobuf(snapshot: Snapshot, resource: Mapping[str, str]) -> bytes:
    """Return a message for each metric, each after its length."""
    written = io.BytesIO()
    target = METRIC_FAMILY(name="target_info", help="What these metrics are of.", type=_GAUGE)
    metric = target.metric.add()
    _write_labels(metric, resource)
    metric.gauge.value = 1
    serialize_length_prefixed(target, written)
    for family in snapshot.families:
        serialize_length_prefixed(_family(family, snapshot.since_ns), written)
    return written.getvalue()


def _family(family: Family, since_ns: int) -> Any:
    instrument = family.instrument
    counter = instrument.kind == "counter"
    kinds = {"counter": _COUNTER, "gauge": _GAUGE, "histogram": _HISTOGRAM}
    message = METRIC_FAMILY(
        name=instrument.prometheus_name + ("_total" if counter else ""),
        help=instrument.description,
        type=kinds[instrument.kind],
    )
    for number in family.numbers:
        metric = message.metric.add()
        _write_labels(metric, number.attributes)
        (metric.counter if counter else metric.gauge).value = number.value
    for point in family.histograms:
        metric = message.metric.add()
        _write_labels(metric, point.attributes)
        _write_histogram(metric.histogram, point, instrument.grid)
        metric.histogram.created_timestamp.FromNanoseconds(since_ns)
    return message


def _write_histogram(message: Any, point: HistogramPoint, grid: Grid) -> None:
    message.sample_count = point.count
    message.sample_sum = point.sum
    for bound, count, exemplar in buckets(point, grid.explicit):
        bucket = message.bucket.add(cumulative_count=count, upper_bound=bound)
        if exemplar is not None:
            _write_exemplar(bucket.exemplar, exemplar)
    if not grid.explicit:
        return
    message.schema = SCALE
    message.zero_threshold = grid.zero_threshold
    message.zero_count = point.exponential.zero_count
    _write_spans(message, point.exponential)
    for exemplar in point.exemplars.values():
        _write_exemplar(message.exemplars.add(), exemplar)


def _write_spans(message: Any, exponential: Exponential) -> None:
    """Write the buckets that are not empty: runs of neighbours, each count as a difference."""
    filled = np.flatnonzero(exponential.counts)
    if not len(filled):
        message.positive_span.add(offset=0, length=0)  # says that it is a native histogram
        return
    # Prometheus numbers a bucket by its upper bound, OpenTelemetry by its lower one.
    places = filled + exponential.first + 1
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    end = 0
    for run in runs:
        message.positive_span.add(offset=int(run[0]) - end, length=len(run))
        end = int(run[-1]) + 1
    counts = exponential.counts[filled]
    message.positive_delta.extend(np.diff(counts, prepend=0).tolist())


def _write_labels(metric: Any, attributes: Mapping[str, str]) -> None:
    for name, value in sorted(attributes.items()):
        metric.label.add(name=prometheus_label(name), value=value)


def _write_exemplar(message: Any, exemplar: Exemplar) -> None:
    message.label.add(name="trace_id", value=f"{exemplar.trace_id:032x}")
    message.value = exemplar.value
    message.timestamp.FromNanoseconds(round(exemplar.time_s * 1e9))
