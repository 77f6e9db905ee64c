from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction
from itertools import pairwise

import pytest
from call_records import DIAGNOSE, MS, SCORE, START_NS, family, folded, record, records, shown
from google.rpc import code_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.telemetry.metrics.folding import fold
from gateway.telemetry.metrics.instruments import (
    BATCH_CALLS,
    BATCH_ROWS,
    CALL_DURATION,
    FAILED_STEPS,
    INFERENCES,
    INSTRUMENTS,
    STAGE_DURATION,
    Instrument,
)
from gateway.telemetry.metrics.tally import Labels, Tally
from gateway.telemetry.record import CallRecord


class Naive:
    """Counts one value after the other, into the explicit buckets only."""

    def __init__(self, calls: list[CallRecord]) -> None:
        self.values: dict[tuple[Instrument, Labels], list[float]] = defaultdict(list)
        self.counters: Counter[tuple[Instrument, Labels]] = Counter()
        for call in calls:
            self._take(call)

    def _take(self, call: CallRecord) -> None:
        of_release = (call.line, call.release, call.variant)
        known = call.code in code_pb2.Code.values()
        name = code_pb2.Code.Name(call.code) if known else str(call.code)
        faults = {
            *("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"),
            *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "17"),
        }
        labels = ("grpc", call.method, name, name if name in faults else "", *of_release)
        for stage, start, end, _ in call.stages:
            key = (stage, call.method, *of_release)
            self.values[STAGE_DURATION, key].append((end - start) / 1e9)
        if not call.end_ns:
            return
        self.values[CALL_DURATION, labels].append((call.end_ns - call.start_ns) / 1e9)
        if call.batch_calls:
            self.values[BATCH_CALLS, of_release].append(call.batch_calls)
            self.values[BATCH_ROWS, of_release].append(call.batch_rows)
            self.counters[INFERENCES, of_release] += Fraction(1, call.batch_calls)
        if call.step:
            self.counters[FAILED_STEPS, (call.line, call.release, call.step)] += 1

    def explicit(self, key: tuple[Instrument, Labels]) -> list[int]:
        bounds = (float("-inf"), *key[0].grid.explicit, float("inf"))
        return [
            sum(low < value <= high for value in self.values[key]) for low, high in pairwise(bounds)
        ]


@settings(deadline=None)
@given(st.lists(records(), max_size=30), st.integers(1, 30))
def test_counts_what_one_after_the_other_would(calls: list[CallRecord], at_a_time: int) -> None:
    tally = Tally()
    for first in range(0, len(calls), at_a_time):
        fold(calls[first : first + at_a_time], tally)

    naive = Naive(calls)
    found = {
        (instrument, labels): one
        for instrument, series in tally.histograms.items()
        for labels, one in series.items()
    }
    assert found.keys() == naive.values.keys()
    for key, one in found.items():
        assert key[0].grid.explicit_counts(one.counts).tolist() == naive.explicit(key)
        assert one.sum == pytest.approx(sum(naive.values[key]))
    counters = {
        (instrument, labels): value
        for instrument, amounts in tally.counters.items()
        for labels, value in amounts.items()
    }
    assert counters == pytest.approx({key: float(one) for key, one in naive.counters.items()})


@settings(deadline=None)
@given(st.lists(records(), max_size=30))
def test_an_exemplar_is_a_traced_call_of_its_bucket(calls: list[CallRecord]) -> None:
    traced = {call.trace_id for call in calls if call.trace_id}
    durations = {
        (call.trace_id, (call.end_ns - call.start_ns) / 1e9)
        for call in calls
        if call.trace_id and call.end_ns
    }
    tally = folded(*calls)

    seen = set()
    for instrument, series in tally.histograms.items():
        for one in series.values():
            for bucket, exemplar in one.exemplars.items():
                bounds = (float("-inf"), *instrument.grid.explicit, float("inf"))
                assert bounds[bucket] < exemplar.value <= bounds[bucket + 1]
                assert exemplar.trace_id in traced
                assert exemplar.time_s >= START_NS / 1e9
                if instrument is CALL_DURATION:
                    assert (exemplar.trace_id, exemplar.value) in durations
                    seen.add(exemplar.trace_id)
    assert bool(seen) == bool(durations)


def test_the_last_traced_call_of_a_bucket_is_its_exemplar() -> None:
    calls = [record(("decode", 4), trace_id=number) for number in (1, 2, 0)]

    (one,) = folded(*calls).histograms[CALL_DURATION].values()

    (exemplar,) = one.exemplars.values()
    assert (exemplar.trace_id, exemplar.value) == (2, 0.004)
    assert exemplar.time_s == (START_NS + 4 * MS) / 1e9


def test_a_bucket_that_has_an_exemplar_keeps_it_until_the_next_report() -> None:
    tally = Tally()
    for number in (1, 2):
        fold([record(("decode", 4), trace_id=number)], tally)

    (one,) = tally.histograms[CALL_DURATION].values()
    assert [exemplar.trace_id for exemplar in one.exemplars.values()] == [1]


def test_a_call_is_told_apart_by_all_that_matters() -> None:
    calls = [
        record(total_ms=1),
        record(total_ms=1, method=DIAGNOSE),
        record(total_ms=1, code=code_pb2.UNAVAILABLE),
        record(total_ms=1, code=code_pb2.INVALID_ARGUMENT, line="", release="", variant=""),
        record(total_ms=1, release="r2"),
    ]
    points = family(shown(folded(*calls)), "rpc.server.call.duration").histograms

    assert [point.count for point in points] == [1] * 5
    served = {"trident.line": "score-risk", "trident.release": "r1", "trident.variant": "fused"}
    well = {"rpc.system.name": "grpc", "rpc.response.status_code": "OK", "rpc.method": SCORE}
    attributes = [point.attributes for point in points]
    assert well | served in attributes
    assert well | served | {"rpc.method": DIAGNOSE} in attributes
    assert well | served | {"trident.release": "r2"} in attributes
    failed = {"rpc.response.status_code": "UNAVAILABLE", "error.type": "UNAVAILABLE"}
    assert well | served | failed in attributes
    assert well | {"rpc.response.status_code": "INVALID_ARGUMENT"} in attributes


def test_the_inferences_of_whole_batches_are_counted_once() -> None:
    calls = [record(total_ms=1, batch_calls=3, batch_rows=3) for _ in range(6)]
    calls += [record(total_ms=1, batch_calls=1, batch_rows=500), record(total_ms=1)]

    tally = folded(*calls)

    assert list(tally.counters[INFERENCES].values()) == [pytest.approx(3)]
    (rows,) = tally.histograms[BATCH_ROWS].values()
    assert (rows.count, rows.sum) == (7, 518)


def test_of_a_part_of_a_stream_only_the_stages_count() -> None:
    tally = folded(record(("decode", 1), end_ns=0, batch_calls=3, batch_rows=3, step="score"))

    assert list(tally.histograms) == [STAGE_DURATION]
    assert not tally.counters


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    (one,) = folded(record(total_ms=-5)).histograms[CALL_DURATION].values()

    assert (one.count, one.sum) == (1, 0)


def test_every_instrument_is_told_apart_by_its_name() -> None:
    assert all(one.name == name for name, one in INSTRUMENTS.items())
    assert len({one.prometheus_name for one in INSTRUMENTS.values()}) == len(INSTRUMENTS)
