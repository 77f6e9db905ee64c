"""What must be reached is told apart from what was not measured."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.serving.bars import Bar, bars
from benchmarks.serving.summary import Summary


def burst(task: str, contender: str, in_flight: int, **fields: Any) -> dict[str, Any]:
    return {
        "task": task, "contender": contender, "loop": "closed", "in_flight": in_flight, "round": 0,
        "rows_per_s": 1000, "p50_us": 1000, "p99_us": 2000, "resident_mb": [90.0], "faults": [],
    } | fields  # fmt: skip


def the_bar(bursts: list[dict[str, Any]], what: str, soak: Any = None) -> Bar:
    (found,) = [bar for bar in bars(Summary(bursts), soak or {}) if bar.what.startswith(what)]
    return found


def test_nothing_is_met_or_missed_that_was_not_measured() -> None:
    assert {bar.met for bar in bars(Summary([]), {})} == {None}


@pytest.mark.parametrize(("rate", "met"), [(1100, True), (1099, False)])
def test_a_bar_of_throughput_is_met_from_its_value_on(rate: float, met: bool) -> None:
    bursts = [
        burst("diagnose", "triton", 64),
        burst("diagnose", "gateway-grpc", 64, rows_per_s=rate),
    ]
    bar = the_bar(bursts, "diagnose, 64 in flight, grpc.aio: of direct Triton")
    assert (bar.met, bar.wanted) == (met, "≥ 1.1")


@pytest.mark.parametrize(("p50_us", "met"), [(2200, True), (2201, False)])
def test_a_bar_of_latency_is_met_up_to_its_value(p50_us: float, met: bool) -> None:
    bursts = [
        burst("recommend", "triton", 1),
        burst("recommend", "gateway-envoy", 1, p50_us=p50_us),
    ]
    assert the_bar(bursts, "recommend, one at a time, Envoy").met is met


def test_the_best_transport_and_the_best_peer_are_compared() -> None:
    bursts = [
        burst("diagnose", "gateway-grpc", 16),
        burst("diagnose", "gateway-envoy", 16, rows_per_s=3000),
        burst("diagnose", "kserve", 16, rows_per_s=500),
        burst("diagnose", "mlserver", 16, rows_per_s=1000),
    ]
    bar = the_bar(bursts, "diagnose, 16 in flight, Envoy: of the best peer")
    assert bar.what.endswith("(MLServer)")
    assert bar.met
    assert bar.measured == "3.00 [3.00–3.00]"


def test_batches_are_compared_by_row_with_unary_calls() -> None:
    bursts = [
        burst("diagnose", "gateway-grpc", 64),
        burst("diagnose", "gateway-grpc-batch", 4, rows_per_s=19_999),
    ]
    assert the_bar(bursts, "diagnose, batches of 256, grpc.aio: rows/s of unary").met is False


def test_the_tail_is_that_of_the_open_loop() -> None:
    bursts = [
        burst("diagnose", "gateway-grpc", 64, p99_us=9000),
        burst("diagnose", "gateway-grpc", 64, loop="open", p99_us=3000),
    ]
    assert the_bar(bursts, "diagnose, 70 % of capacity, grpc.aio").met


def test_memory_is_that_of_the_largest_process() -> None:
    bursts = [burst("diagnose", "gateway-grpc", 64, resident_mb=[121.0, 30.0])]
    assert the_bar(bursts, "memory of a worker, grpc.aio").met is False


@pytest.mark.parametrize(
    ("requests", "last_mb", "met"),
    [(1_000_000, 101, True), (1_000_000, 103, False), (10_000, 100, None)],
    ids=["flat", "grown", "too short to say"],
)
def test_memory_is_flat_if_it_hardly_grew_over_a_million_requests(
    requests: int, last_mb: float, met: bool | None
) -> None:
    soak = {"gateway-grpc": {"requests": requests, "warm_mb": 100, "last_mb": last_mb}}
    assert the_bar([], "growth of a worker over 1,000,000 requests, grpc.aio", soak).met is met
