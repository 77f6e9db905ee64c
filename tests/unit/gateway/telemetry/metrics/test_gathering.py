"""Workers report, the supervisor adds up."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from call_records import family, record
from waiting import wait_for

from gateway.telemetry.metrics.hub import MetricsHub
from gateway.telemetry.metrics.instruments import (
    ACTIVE_CALLS,
    CACHE_HITS,
    RESTARTS,
    TRITON_UP,
)
from gateway.telemetry.metrics.readings import Reading
from gateway.telemetry.metrics.reporter import SOCKET, Metrics
from gateway.telemetry.metrics.snapshot import Snapshot
from gateway.telemetry.metrics.tally import Tally
from gateway.telemetry.metrics.wanted import build_metrics
from gateway.telemetry.metrics.wire import send_message


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[MetricsHub]:
    hub = MetricsHub(tmp_path, every_s=3600)
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture
def start(tmp_path: Path, hub: MetricsHub) -> Iterator[Callable[[int], Metrics]]:
    """Starts a worker's metrics, known to the hub."""
    started: list[Metrics] = []

    def begin(worker: int) -> Metrics:
        known = number(hub.gather(), "trident.workers")
        started.append(Metrics(worker))
        started[-1].start(tmp_path)
        wait_for(lambda: number(hub.gather(), "trident.workers") == known + 1)
        return started[-1]

    yield begin
    for one in started:
        one.stop()


def number(snapshot: Snapshot, name: str, **attributes: str) -> float:
    wanted = {key.replace("_", "."): value for key, value in attributes.items()}
    return sum(
        point.value
        for one in snapshot.families
        if one.instrument.name == name
        for point in one.numbers
        if wanted.items() <= point.attributes.items()
    )


def total_calls(snapshot: Snapshot) -> int:
    return sum(
        point.count
        for one in snapshot.families
        if one.instrument.name == "rpc.server.call.duration"
        for point in one.histograms
    )


def calls(snapshot: Snapshot) -> int:
    (point,) = family(snapshot, "rpc.server.call.duration").histograms
    return point.count


def test_all_workers_are_added_up(hub: MetricsHub, start: Callable[[int], Metrics]) -> None:
    for worker, count in ((0, 3), (1, 4)):
        metrics = start(worker)
        metrics.gauges(lambda: [Reading(ACTIVE_CALLS, (), 2), Reading(CACHE_HITS, (), 10)])
        for _ in range(count):
            metrics.sink(record(total_ms=1))

    found = hub.gather()

    assert calls(found) == 7
    assert number(found, "trident.calls.active") == 4
    assert number(found, "trident.cache.hits") == 20
    assert number(found, "process.cpu.time", trident_worker="1") > 0
    assert number(found, "process.memory.usage", trident_worker="0") > 1e6


def test_a_call_is_shown_by_the_next_look_and_once(
    hub: MetricsHub, start: Callable[[int], Metrics]
) -> None:
    metrics = start(0)
    for expected in range(1, 6):
        metrics.sink(record(total_ms=1))
        assert calls(hub.gather()) == expected
    assert calls(hub.gather()) == 5


def test_totals_outlive_a_worker_and_its_gauges_do_not(
    hub: MetricsHub, start: Callable[[int], Metrics]
) -> None:
    first = start(0)
    first.gauges(lambda: [Reading(ACTIVE_CALLS, (), 2), Reading(CACHE_HITS, (), 10)])
    first.sink(record(total_ms=1))
    first.stop()  # sends the last call with its end
    wait_for(lambda: number(hub.gather(), "trident.workers") == 0)
    assert (calls(hub.gather()), number(hub.gather(), "trident.calls.active")) == (1, 0)

    again = start(0)
    again.gauges(lambda: [Reading(CACHE_HITS, (), 1)])
    again.sink(record(total_ms=1))

    assert calls(hub.gather()) == 2
    assert number(hub.gather(), "trident.cache.hits") == 11


def test_a_worker_that_does_not_answer_holds_nobody_up(tmp_path: Path) -> None:
    hub = MetricsHub(tmp_path, every_s=3600, answer_s=0.1)
    hub.start()
    metrics = Metrics(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.connect(str(tmp_path / SOCKET))
        metrics.start(tmp_path)
        wait_for(lambda: number(hub.gather(), "trident.workers") == 1)
        for _ in range(2):
            metrics.sink(record(total_ms=1))
        wait_for(lambda: total_calls(hub.gather()) == 2)
    metrics.stop()
    hub.stop()


def test_one_that_talks_nonsense_is_let_go(
    hub: MetricsHub, start: Callable[[int], Metrics], tmp_path: Path
) -> None:
    metrics = start(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.connect(str(tmp_path / SOCKET))
        send_message(other, b"{}")
        assert other.recv(1) in (b"", b"?")

        metrics.sink(record(total_ms=1))
        assert calls(hub.gather()) == 1


def test_what_the_supervisor_has_itself_is_shown_beside(hub: MetricsHub) -> None:
    def triton() -> tuple[Tally, dict[object, float]]:
        tally = Tally()
        tally.count(CACHE_HITS, (), 3)
        return tally, {(TRITON_UP, ("embedded",)): 1.0}

    def broken() -> tuple[Tally, dict[object, float]]:
        raise RuntimeError("away")

    hub.add_source(broken)
    hub.add_source(triton)
    hub.gauges(lambda: [Reading(RESTARTS, ("1",), 2)])

    hub.gather()
    found = hub.gather()

    assert number(found, "trident.triton.up", trident_triton="embedded") == 1
    assert number(found, "trident.cache.hits") == 6
    assert number(found, "trident.worker.restarts", trident_worker="1") == 2


def test_a_source_is_closed_in_the_end(tmp_path: Path) -> None:
    hub = MetricsHub(tmp_path)
    closed: list[str] = []
    hub.add_source(lambda: (Tally(), {}), lambda: closed.append("it"))
    hub.start()
    hub.gather()
    assert closed == []

    hub.stop()

    assert closed == ["it"]


def test_workers_are_asked_although_nobody_looks(tmp_path: Path) -> None:
    hub = MetricsHub(tmp_path, every_s=0.01)
    shown: list[int] = []
    hub.gauges(lambda: [Reading(RESTARTS, ("1",), shown.append(1) or 0)])
    hub.start()
    read: list[int] = []
    metrics = Metrics(0)
    metrics.gauges(lambda: [Reading(ACTIVE_CALLS, (), read.append(1) or 0)])
    metrics.start(tmp_path)

    wait_for(lambda: len(read) >= 3)

    metrics.stop()
    hub.stop()
    assert shown == []  # and nothing is put together that nobody looks at


def test_without_a_supervisor_nothing_piles_up(tmp_path: Path) -> None:
    metrics = Metrics(0)
    metrics.start(tmp_path)
    metrics.sink(record(total_ms=1))

    wait_for(lambda: not metrics.pending)

    metrics.stop()


def test_a_worker_counts_only_what_somebody_wants() -> None:
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317"}

    assert build_metrics(None, environment={}) is None
    assert build_metrics("127.0.0.1:0", environment={}) is not None
    assert build_metrics(None, environment=collector) is not None
    assert build_metrics(None, environment=collector | {"OTEL_METRICS_EXPORTER": "none"}) is None
