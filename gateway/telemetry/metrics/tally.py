"""Counts that can be added: what happened in a while, or since the beginning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gateway.telemetry.metrics.grid import Counts
from gateway.telemetry.metrics.instruments import Instrument

Labels = tuple[str, ...]
"""The values of an instrument's attributes, in their order; empty texts are none."""

OVERFLOW: Labels = ("otel.metric.overflow",)
"""In the place of labels that are too many; OpenTelemetry's name for it."""

MAX_SERIES = 2000
"""Of one instrument, as in OpenTelemetry's SDKs."""

_IDLE_S = 3600.0


class Exemplar(NamedTuple):
    """One call that a bucket counted.

    Attributes:
        trace_id: Of its trace.
        value: What was counted, in the instrument's unit.
        time_s: When, in s since 1970.
    """

    trace_id: int
    value: float
    time_s: float


@dataclass
class Distribution:
    """The state of one series of a histogram.

    Attributes:
        counts: ``(F + 1,)`` int64, of each bin of the instrument's grid.
        sum: Of all values.
        exemplars: The last call of each explicit bucket that has a trace.
    """

    counts: Counts
    sum: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of values."""
        return int(self.counts.sum())

    def add(self, counts: Counts, total: float, exemplars: Mapping[int, Exemplar]) -> None:
        """Add values that are counted already."""
        self.counts += counts
        self.sum += total
        self.exemplars.update(exemplars)


class Tally:
    """Histograms and counters by instrument and labels, bounded in number.

    Where an instrument has too many series, those that nothing was added to for an hour are
    forgotten; if there are none, what is new is counted in one series, :data:`OVERFLOW`.

    Args:
        max_series: Of each instrument.
        clock: Seconds that only grow.
    """

    def __init__(
        self, max_series: int = MAX_SERIES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.histograms: dict[Instrument, dict[Labels, Distribution]] = {}
        self.counters: dict[Instrument, dict[Labels, float]] = {}
        self._max_series = max_series
        self._clock = clock
        self._touched: dict[Instrument, dict[Labels, float]] = {}

    def observe(
        self,
        instrument: Instrument,
        labels: Labels,
        counts: Counts,
        total: float,
        exemplars: Mapping[int, Exemplar] | None = None,
    ) -> None:
        """Add values to a histogram.

        Args:
            instrument: Which histogram.
            labels: Which series of it.
            counts: ``(F + 1,)``, how many values each bin of its grid has.
            total: The sum of the values.
            exemplars: By explicit bucket.
        """
        series = self.histograms.setdefault(instrument, {})
        labels = self._place(instrument, series, labels)
        known = series.get(labels)
        if known is None:
            known = series[labels] = Distribution(np.zeros(len(instrument.grid), np.int64))
        known.add(counts, total, exemplars or {})

    def exemplars(self, instrument: Instrument, labels: Labels) -> Mapping[int, Exemplar]:
        """Return the exemplars of a series, by explicit bucket."""
        known = self.histograms.get(instrument, {}).get(labels)
        return {} if known is None else known.exemplars

    def count(self, instrument: Instrument, labels: Labels, amount: float) -> None:
        """Add to a counter."""
        series = self.counters.setdefault(instrument, {})
        labels = self._place(instrument, series, labels)
        series[labels] = series.get(labels, 0.0) + amount

    def add(self, other: Tally) -> None:
        """Add all that another one has."""
        for instrument, distributions in other.histograms.items():
            for labels, one in distributions.items():
                self.observe(instrument, labels, one.counts, one.sum, one.exemplars)
        for instrument, amounts in other.counters.items():
            for labels, amount in amounts.items():
                self.count(instrument, labels, amount)

    def _place(self, instrument: Instrument, series: dict[Labels, Any], labels: Labels) -> Labels:
        """Return the labels to count under; make room for them if need be."""
        now = self._clock()
        touched = self._touched.setdefault(instrument, {})
        if labels not in touched and labels != OVERFLOW and len(touched) >= self._max_series:
            self._forget(series, touched, now - _IDLE_S)
            if len(touched) >= self._max_series:
                labels = OVERFLOW
        if labels != OVERFLOW:
            touched[labels] = now
        return labels

    @staticmethod
    def _forget(series: dict[Labels, Any], touched: dict[Labels, float], before: float) -> None:
        idle: Iterable[Labels] = [labels for labels, when in touched.items() if when < before]
        for labels in idle:
            del touched[labels]
            series.pop(labels, None)
