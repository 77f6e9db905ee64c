"""From the records of calls to counts: many at a time, outside the event loop."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from google.rpc import code_pb2

from gateway.telemetry.metrics.grid import Counts, Grid
from gateway.telemetry.metrics.instruments import (
    BATCH_CALLS,
    BATCH_ROWS,
    CALL_DURATION,
    FAILED_STEPS,
    INFERENCES,
    STAGE_DURATION,
    Instrument,
)
from gateway.telemetry.metrics.tally import Exemplar, Labels, Tally
from gateway.telemetry.record import SERVER_FAULTS, CallRecord

_NS = 1e9

_OUTCOMES: dict[int, tuple[str, str]] = {
    code: (name, name if code in SERVER_FAULTS else "") for name, code in code_pb2.Code.items()
}
"""Of each code: its name, and ``error.type``."""

_Key = tuple[str, int, str, str, str]
"""Method, code, line, release, variant."""

Places = npt.NDArray[np.int64]
"""``(N,)``, indices."""

_KEY = attrgetter("method", "code", "line", "release", "variant")
_STAGES, _STEP = attrgetter("stages"), attrgetter("step")
_START, _END = attrgetter("start_ns"), attrgetter("end_ns")
_CALLS, _ROWS = attrgetter("batch_calls"), attrgetter("batch_rows")

T = TypeVar("T", bound=Hashable)


def fold(records: Sequence[CallRecord], tally: Tally) -> None:
    """Count calls that have ended, and parts of those that go on."""
    if not records:
        return
    # Loops over all calls are in C here: this runs beside the event loop, in the same interpreter.
    owner, keys = _numbered(map(_KEY, records))
    traced = _Traced(records)
    _fold_stages(records, owner, keys, traced, tally)
    ended = np.flatnonzero(_integers(map(_END, records), len(records)))
    _fold_durations(records, owner, keys, traced, ended, tally)
    _fold_batches(records, owner, keys, ended, tally)
    if any(map(_STEP, records)):
        for one in records:
            if one.step and one.end_ns:
                tally.count(FAILED_STEPS, (one.line, one.release, one.step), 1)


class _Traced:
    """Which calls have ended and have a trace, to be shown as exemplars."""

    def __init__(self, records: Sequence[CallRecord]) -> None:
        self._records = records
        self.mask = np.array([one.trace_id != 0 and one.end_ns != 0 for one in records])
        self.any = bool(self.mask.any())

    def exemplar(self, call: int, value: float) -> Exemplar:
        record = self._records[call]
        return Exemplar(record.trace_id, value, record.end_ns / _NS)


def _fold_durations(
    records: Sequence[CallRecord],
    owner: Places,
    keys: Sequence[_Key],
    traced: _Traced,
    ended: Places,
    tally: Tally,
) -> None:
    seconds = _seconds(map(_START, records), map(_END, records), len(records))
    labels: list[Labels] = []
    for method, code, *release in keys:
        name, error_type = _OUTCOMES.get(code, (str(code), str(code)))
        labels.append(("grpc", method, name, error_type, *release))
    _observe(CALL_DURATION, labels, owner[ended], seconds[ended], tally, ended, traced)


def _fold_stages(
    records: Sequence[CallRecord],
    owner: Places,
    keys: Sequence[_Key],
    traced: _Traced,
    tally: Tally,
) -> None:
    per_call = list(map(_STAGES, records))
    stages = list(chain.from_iterable(per_call))
    if not stages:
        return
    seconds = _seconds(map(itemgetter(1), stages), map(itemgetter(2), stages), len(stages))
    call = np.repeat(np.arange(len(records)), list(map(len, per_call)))
    kind, kinds = _numbered(map(itemgetter(0), stages))
    # The code of a call does not matter to its stages: series that differ in it alone are one.
    series_of, labels = _numbered((name, key[0], *key[2:]) for key in keys for name in kinds)
    places = series_of[owner[call] * len(kinds) + kind]
    _observe(STAGE_DURATION, labels, places, seconds, tally, call, traced)


def _fold_batches(
    records: Sequence[CallRecord],
    owner: Places,
    keys: Sequence[_Key],
    ended: Places,
    tally: Tally,
) -> None:
    calls = _integers(map(_CALLS, records), len(records))
    asked = ended[calls[ended] > 0]
    if not len(asked):
        return
    series_of, labels = _numbered(key[2:] for key in keys)
    places = series_of[owner[asked]]
    rows = _integers(map(_ROWS, records), len(records))[asked]
    _observe(BATCH_CALLS, labels, places, calls[asked], tally)
    _observe(BATCH_ROWS, labels, places, rows, tally)
    inferences = np.bincount(places, weights=1 / calls[asked], minlength=len(labels))
    for place in np.flatnonzero(inferences).tolist():
        tally.count(INFERENCES, labels[place], float(inferences[place]))


def _numbered(values: Iterable[T]) -> tuple[Places, list[T]]:
    """Return the number of each value, and the different values in the order of their numbers."""
    values = list(values)
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return _integers(map(numbers.__getitem__, values), len(values)), list(numbers)


def _integers(values: Iterable[int], count: int) -> Places:
    return np.fromiter(values, np.int64, count)


def _seconds(starts: Iterable[int], ends: Iterable[int], count: int) -> npt.NDArray[np.float64]:
    """Return times in s; none is negative, though clocks may be set."""
    taken_ns = _integers(ends, count) - _integers(starts, count)
    seconds: npt.NDArray[np.float64] = taken_ns.clip(min=0) / _NS
    return seconds


def _observe(
    instrument: Instrument,
    labels: Sequence[Labels],
    places: Places,
    values: npt.NDArray[np.float64] | Places,
    tally: Tally,
    call: Places | None = None,
    traced: _Traced | None = None,
) -> None:
    """Count values into their series.

    Args:
        instrument: The histogram.
        labels: Of each series.
        places: ``(N,)`` int64, the series of each value.
        values: ``(N,)``, in the instrument's unit.
        tally: Where to count.
        call: ``(N,)`` int64, the record that each value is of.
        traced: Which of the records can be exemplars.
    """
    grid = instrument.grid
    width = len(grid)
    bins = grid.bins(values)
    counts: Counts = np.bincount(places * width + bins, minlength=len(labels) * width)
    counts = counts.reshape(len(labels), width)
    sums = np.bincount(places, weights=values, minlength=len(labels))
    exemplars: dict[int, dict[int, Exemplar]] = {}
    if traced is not None and call is not None and traced.any:
        known = [tally.exemplars(instrument, one) for one in labels]
        exemplars = _exemplars(grid, places, bins, values, call, traced, known)
    for place in np.flatnonzero(np.bincount(places, minlength=len(labels))).tolist():
        tally.observe(
            instrument, labels[place], counts[place], float(sums[place]), exemplars.get(place)
        )


def _exemplars(
    grid: Grid,
    places: Places,
    bins: Counts,
    values: npt.NDArray[np.float64] | Places,
    call: Places,
    traced: _Traced,
    known: Sequence[Mapping[int, Exemplar]],
) -> dict[int, dict[int, Exemplar]]:
    """Return the last traced value of each explicit bucket that has none yet, by series."""
    chosen = np.flatnonzero(traced.mask[call])
    buckets = len(grid.explicit) + 1
    cells = places[chosen] * buckets + grid.explicit_of[bins[chosen]]
    last = dict(zip(cells.tolist(), chosen.tolist(), strict=True))  # the last one stays
    found: dict[int, dict[int, Exemplar]] = {}
    for cell, value in last.items():
        place, bucket = divmod(cell, buckets)
        if bucket not in known[place]:
            exemplar = traced.exemplar(int(call[value]), float(values[value]))
            found.setdefault(place, {})[bucket] = exemplar
    return found
