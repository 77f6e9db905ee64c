from __future__ import annotations

import pytest
from call_records import folded, record
from hand_clock import Clock

from gateway.telemetry.metrics.instruments import CALL_DURATION, REFUSED_CALLS
from gateway.telemetry.metrics.tally import OVERFLOW, Tally


def test_adding_two_gives_what_counting_all_would() -> None:
    first = [record(("decode", 1), trace_id=1), record(("queue", 2), release="r2")]
    second = [record(("decode", 3), trace_id=2), record(("decode", 9), batch_calls=2)]
    added, counted = Tally(), folded(*first, *second)

    added.add(folded(*first))
    added.add(folded(*second))

    assert added.counters == counted.counters
    for instrument, series in counted.histograms.items():
        for labels, one in series.items():
            same = added.histograms[instrument][labels]
            assert (same.counts == one.counts).all()
            assert same.exemplars == one.exemplars
            assert same.sum == pytest.approx(one.sum)


def test_labels_that_are_too_many_are_counted_together() -> None:
    tally = Tally(max_series=3)
    for number in range(10):
        tally.count(REFUSED_CALLS, ("queue", f"line{number}"), 1)
    tally.count(REFUSED_CALLS, ("queue", "line1"), 1)

    amounts = tally.counters[REFUSED_CALLS]
    assert amounts == {
        ("queue", "line0"): 1,
        ("queue", "line1"): 2,
        ("queue", "line2"): 1,
        OVERFLOW: 7,
    }


def test_each_instrument_has_its_own_bound() -> None:
    tally = Tally(max_series=1)
    tally.count(REFUSED_CALLS, ("queue", "a"), 1)
    tally.add(folded(record(total_ms=1)))

    assert OVERFLOW not in tally.histograms[CALL_DURATION]


def test_a_release_that_is_long_gone_makes_room() -> None:
    clock = Clock(0)
    tally = Tally(max_series=2, clock=clock)
    for release in ("old", "used"):
        tally.count(REFUSED_CALLS, ("queue", release), 1)
    clock.now = 3000
    tally.count(REFUSED_CALLS, ("queue", "used"), 1)
    clock.now = 4000

    tally.count(REFUSED_CALLS, ("queue", "new"), 1)

    assert tally.counters[REFUSED_CALLS] == {("queue", "used"): 2, ("queue", "new"): 1}
