"""Metrics as Prometheus reads them: its text, OpenMetrics with exemplars, or protobuf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import exposition
from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as TextExemplar
from prometheus_client.utils import floatToGoString

from gateway.telemetry.metrics.instruments import prometheus_label
from gateway.telemetry.metrics.native import PROTOBUF_CONTENT_TYPE, protobuf
from gateway.telemetry.metrics.snapshot import Family, Snapshot, buckets
from gateway.telemetry.metrics.tally import Exemplar

_OPENMETRICS = "application/openmetrics-text"
_PROTOBUF = "application/vnd.google.protobuf"
_MESSAGE = "io.prometheus.client.metricfamily"

Resource = Mapping[str, str]
"""Attributes of this gateway, by OpenTelemetry's names."""


@dataclass(frozen=True)
class Format:
    """A way of writing metrics."""

    content_type: str
    write: Callable[[Snapshot, Resource], bytes]


def choose_format(accept: str) -> Format:
    """Return the format that a scraper likes best, by its ``Accept`` header.

    Only protobuf has native histograms, only that and OpenMetrics have exemplars.
    """
    wishes = sorted(_wishes(accept), key=lambda wish: -wish[0])
    for _, kind, parameters in wishes:
        if kind == _PROTOBUF and parameters.get("proto", "").lower() == _MESSAGE:
            if parameters.get("encoding", "delimited") == "delimited":
                return Format(PROTOBUF_CONTENT_TYPE, protobuf)
        elif kind == _OPENMETRICS and parameters.get("version", "1.0.0") in ("0.0.1", "1.0.0"):
            return Format(openmetrics.CONTENT_TYPE_LATEST, openmetrics_text)
        elif kind in ("text/plain", "text/*", "*/*"):
            break
    return Format(exposition.CONTENT_TYPE_PLAIN_0_0_4, plain_text)


def plain_text(snapshot: Snapshot, resource: Resource) -> bytes:
    """Return Prometheus' own text, without exemplars."""
    return exposition.generate_latest(_Collector(snapshot, resource))


def openmetrics_text(snapshot: Snapshot, resource: Resource) -> bytes:
    """Return OpenMetrics' text."""
    collector = _Collector(snapshot, resource)
    text: bytes = openmetrics.generate_latest(collector)  # type: ignore[no-untyped-call]
    return text


class _Collector(Collector):
    """A snapshot as prometheus_client takes it."""

    def __init__(self, snapshot: Snapshot, resource: Resource) -> None:
        self._snapshot = snapshot
        self._resource = resource

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("target", "What these metrics are of.", _labels(self._resource))
        for family in self._snapshot.families:
            yield _metric(family)


def _metric(family: Family) -> Metric:
    instrument = family.instrument
    name = instrument.prometheus_name
    metric = Metric(name, instrument.description, instrument.kind, instrument.prometheus_unit)
    suffix = "_total" if instrument.kind == "counter" else ""
    for number in family.numbers:
        metric.add_sample(name + suffix, _labels(number.attributes), number.value)
    for point in family.histograms:
        labels = _labels(point.attributes)
        for bound, count, exemplar in buckets(point, instrument.grid.explicit):
            text = floatToGoString(bound)  # type: ignore[no-untyped-call]
            bucket = labels | {"le": text}
            metric.add_sample(f"{name}_bucket", bucket, count, None, _exemplar(exemplar))
        metric.add_sample(f"{name}_count", labels, point.count)
        metric.add_sample(f"{name}_sum", labels, point.sum)
    return metric


def _labels(attributes: Mapping[str, str]) -> dict[str, str]:
    return {prometheus_label(name): value for name, value in attributes.items()}


def _exemplar(exemplar: Exemplar | None) -> TextExemplar | None:
    if exemplar is None:
        return None
    labels = {"trace_id": f"{exemplar.trace_id:032x}"}
    return TextExemplar(labels, exemplar.value, round(exemplar.time_s, 3))


def _wishes(accept: str) -> Iterator[tuple[float, str, dict[str, str]]]:
    """Yield of each media range its weight, kind and parameters; those without weight are left."""
    for wish in accept.split(","):
        kind, *rest = (part.strip() for part in wish.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {name.strip().lower(): value.strip(' "') for name, _, value in pairs}
        try:
            weight = float(parameters.get("q", "1"))
        except ValueError:
            weight = 0.0
        if weight > 0:
            yield weight, kind.lower(), parameters
