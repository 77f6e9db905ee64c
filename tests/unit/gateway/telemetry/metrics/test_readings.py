from __future__ import annotations

from gateway.telemetry.metrics.instruments import (
    ACTIVE_CALLS,
    CACHE_HITS,
    RELEASE_SERVING,
    RELEASE_WEIGHT,
)
from gateway.telemetry.metrics.readings import Reading, Readings, merged
from gateway.telemetry.metrics.tally import Tally


def test_counters_are_told_as_what_they_have_grown() -> None:
    values = iter([5, 5, 8, 2])
    readings = Readings()
    readings.add(lambda: [Reading(CACHE_HITS, (), next(values))])

    grown = []
    for _ in range(4):
        tally = Tally()
        assert readings.take(tally) == {}
        grown.append(tally.counters[CACHE_HITS][()])

    assert grown == [5, 0, 3, 2]  # at last its keeper began anew


def test_gauges_are_told_as_they_are() -> None:
    readings = Readings()
    readings.add(lambda: [Reading(ACTIVE_CALLS, (), 3)])
    readings.add(lambda: [Reading(ACTIVE_CALLS, (), 4)])

    assert readings.take(Tally()) == {(ACTIVE_CALLS, ()): 7}


def test_one_that_cannot_be_read_harms_no_other() -> None:
    readings = Readings()
    readings.add(lambda: [Reading(ACTIVE_CALLS, (), 1 / 0)])
    readings.add(lambda: [Reading(CACHE_HITS, (), 1)])
    tally = Tally()

    assert readings.take(tally) == {}
    assert tally.counters[CACHE_HITS] == {(): 1}


def test_workers_are_put_together_as_their_meaning_wants() -> None:
    release = ("score-risk", "r1", "fused")
    one = {
        (ACTIVE_CALLS, ()): 2.0,
        (RELEASE_SERVING, release): 1.0,
        (RELEASE_WEIGHT, release): 0.5,
    }
    other = {
        (ACTIVE_CALLS, ()): 3.0,
        (RELEASE_SERVING, release): 0.0,
        (RELEASE_WEIGHT, release): 0.5,
    }

    assert merged([one, other]) == {
        (ACTIVE_CALLS, ()): 5,
        (RELEASE_SERVING, release): 0,
        (RELEASE_WEIGHT, release): 0.5,
    }
