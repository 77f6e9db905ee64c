from __future__ import annotations

import threading

from call_records import record

from gateway.telemetry.metrics.instruments import CALL_DURATION, DROPPED_RECORDS
from gateway.telemetry.metrics.recorder import Recorder
from gateway.telemetry.metrics.tally import Tally


def calls_in(tally: Tally) -> int:
    return sum(one.count for one in tally.histograms.get(CALL_DURATION, {}).values())


def test_what_was_taken_is_not_taken_again() -> None:
    recorder = Recorder()
    for _ in range(1300):  # more than is counted in one go
        recorder.sink(record(total_ms=1))

    recorder.fold()

    assert calls_in(recorder.take()) == 1300
    recorder.fold()
    assert not recorder.take().histograms


def test_what_is_too_much_is_dropped_and_counted() -> None:
    recorder = Recorder(max_pending=3)
    for _ in range(5):
        recorder.sink(record(total_ms=1))
    recorder.fold()
    recorder.sink(record(total_ms=1))
    recorder.fold()

    tally = recorder.take()

    assert calls_in(tally) == 4
    assert tally.counters[DROPPED_RECORDS] == {(): 2}
    assert DROPPED_RECORDS not in recorder.take().counters


def test_a_record_that_makes_no_sense_ends_nothing() -> None:
    recorder = Recorder()
    recorder.sink(record(total_ms=1, stages=[("decode", None, 3)]))
    recorder.fold()
    recorder.sink(record(total_ms=1))
    recorder.fold()

    tally = recorder.take()

    assert calls_in(tally) == 1
    assert tally.counters[DROPPED_RECORDS] == {(): 1}


def test_no_call_is_lost_or_counted_twice_while_two_threads_count() -> None:
    recorder = Recorder()
    made = [record(total_ms=1) for _ in range(20_000)]
    tallies: list[Tally] = []
    done = threading.Event()

    def count() -> None:
        while not done.is_set():
            recorder.fold()
            tallies.append(recorder.take())

    counter = threading.Thread(target=count)
    counter.start()
    for one in made:
        recorder.sink(one)
    done.set()
    counter.join()
    recorder.fold()
    tallies.append(recorder.take())

    assert sum(map(calls_in, tallies)) == len(made)
