"""All metrics at one moment, whoever shows them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gateway.telemetry.metrics.grid import Counts, Exponential
from gateway.telemetry.metrics.instruments import Instrument
from gateway.telemetry.metrics.readings import Gauges
from gateway.telemetry.metrics.tally import OVERFLOW, Exemplar, Labels, Tally

_OVERFLOWN = {"otel.metric.overflow": "true"}


@dataclass(frozen=True)
class HistogramPoint:
    """One series of a histogram.

    Attributes:
        attributes: By OpenTelemetry's names; those that are empty are left out.
        explicit: ``(E + 1,)`` int64, values in each explicit bucket, not added up.
        exponential: The same values in exponential buckets.
        exemplars: By explicit bucket.
    """

    attributes: Mapping[str, str]
    count: int
    sum: float
    explicit: Counts
    exponential: Exponential
    exemplars: Mapping[int, Exemplar]


@dataclass(frozen=True)
class NumberPoint:
    """One series of a counter or a gauge."""

    attributes: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Family:
    """One metric with all its series."""

    instrument: Instrument
    histograms: tuple[HistogramPoint, ...] = ()
    numbers: tuple[NumberPoint, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """Everything.

    Attributes:
        since_ns: When counting began, in ns since 1970.
        now_ns: When this was taken.
    """

    families: tuple[Family, ...]
    since_ns: int
    now_ns: int


def snapshot(tally: Tally, gauges: Gauges, since_ns: int) -> Snapshot:
    """Return what is counted and read, in the order of names."""
    families = [*_histograms(tally), *_numbers(tally, gauges)]
    families.sort(key=lambda family: family.instrument.name)
    return Snapshot(tuple(families), since_ns, time.time_ns())


def buckets(
    point: HistogramPoint, bounds: tuple[float, ...]
) -> Iterator[tuple[float, int, Exemplar | None]]:
    """Yield of each explicit bucket its upper bound, the values up to there, and its exemplar.

    Args:
        point: A series.
        bounds: Upper ones of the explicit buckets, but for the last, which has none.
    """
    for place, (bound, count) in enumerate(
        zip((*bounds, math.inf), np.cumsum(point.explicit).tolist(), strict=True)
    ):
        yield bound, count, point.exemplars.get(place)


def _histograms(tally: Tally) -> Iterator[Family]:
    for instrument, series in tally.histograms.items():
        grid = instrument.grid
        points = [
            HistogramPoint(
                _attributes(instrument, labels),
                one.count,
                one.sum,
                grid.explicit_counts(one.counts),
                grid.exponential(one.counts),
                dict(one.exemplars),
            )
            for labels, one in sorted(series.items())
        ]
        yield Family(instrument, histograms=tuple(points))


def _numbers(tally: Tally, gauges: Gauges) -> Iterator[Family]:
    series: dict[Instrument, dict[Labels, float]] = {
        instrument: dict(amounts) for instrument, amounts in tally.counters.items()
    }
    for (instrument, labels), value in gauges.items():
        series.setdefault(instrument, {})[labels] = value
    for instrument, values in series.items():
        points = [
            NumberPoint(_attributes(instrument, labels), value)
            for labels, value in sorted(values.items())
        ]
        yield Family(instrument, numbers=tuple(points))


def _attributes(instrument: Instrument, labels: Labels) -> Mapping[str, str]:
    if labels == OVERFLOW:
        return _OVERFLOWN
    pairs = zip(instrument.attributes, labels, strict=True)
    return {name: value for name, value in pairs if value}
