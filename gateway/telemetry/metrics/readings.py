"""Numbers that somebody keeps anyway, read when they are wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gateway.telemetry.metrics.instruments import Instrument
from gateway.telemetry.metrics.tally import Labels, Tally

_log = logging.getLogger(__name__)


class Reading(NamedTuple):
    """The value of a gauge now, or of a counter since its process began."""

    instrument: Instrument
    labels: Labels
    value: float


Read = Callable[[], Iterable[Reading]]
"""Called on a thread: it only looks, at what it can see without a lock."""

Gauges = dict[tuple[Instrument, Labels], float]


class Readings:
    """All that is read of one process. Belongs to one thread, but for :meth:`add`."""

    def __init__(self) -> None:
        self._reads: list[Read] = []
        self._before: dict[tuple[Instrument, Labels], float] = {}

    def add(self, read: Read) -> None:
        """Read this, too."""
        self._reads.append(read)

    def take(self, tally: Tally) -> Gauges:
        """Return the gauges; add to ``tally`` what counters have grown since the last time."""
        gauges: Gauges = {}
        for instrument, labels, value in self._all():
            if instrument.kind == "gauge":
                gauges[instrument, labels] = gauges.get((instrument, labels), 0.0) + value
            else:
                before = self._before.get((instrument, labels), 0.0)
                # Below the last one: whoever keeps it has begun anew.
                grown = value - before if value >= before else value
                tally.count(instrument, labels, grown)
                self._before[instrument, labels] = value
        return gauges

    def _all(self) -> Iterable[Reading]:
        for read in tuple(self._reads):
            try:
                yield from tuple(read())
            except Exception:  # a number that cannot be had harms no other
                _log.exception("A metric could not be read")


_MERGES: dict[str, Callable[[list[float]], float]] = {"sum": sum, "min": min, "max": max}


def merged(sources: Sequence[Gauges]) -> Gauges:
    """Return the gauges of all processes as those of one."""
    values: dict[tuple[Instrument, Labels], list[float]] = {}
    for source in sources:
        for key, value in source.items():
            values.setdefault(key, []).append(value)
    return {key: _MERGES[key[0].merge](found) for key, found in values.items()}
