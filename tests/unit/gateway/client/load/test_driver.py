"""A load against a gateway in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from fake_runner import FakeRunner
from server_thread import served

from gateway.client.load.driver import Driver, Load
from gateway.client.load.outcome import Outcome, milliseconds
from gateway.client.load.pacing import Pacer, due_times
from gateway.client.load.requests import RPCS

METHOD = RPCS["score-risk"].method


@pytest.fixture
def target() -> Iterator[str]:
    """A gateway that refuses every request, quickly."""
    with served(FakeRunner()) as address:
        yield address


def load(**options: Any) -> Load:
    defaults: dict[str, Any] = {
        "method": METHOD, "requests": [b""], "rate": 200, "duration_s": 0.3, "warmup_s": 0.1,
        "sample_ratio": 1.0, "connections": 2,
    }  # fmt: skip
    return Load(**(defaults | options))


def test_even_requests_are_due_in_equal_distances() -> None:
    assert due_times(4, 1, even=True, seed=0) == [0, 0.25, 0.5, 0.75]


def test_random_requests_come_as_often_as_was_asked_independently_of_each_other() -> None:
    times = due_times(1000, 10, even=False, seed=1)
    assert len(times) == pytest.approx(10_000, rel=0.04)
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.05)  # as of a Poisson process
    assert times == sorted(times)
    assert times[-1] < 10


async def test_the_pacer_sends_everything_in_order_and_none_too_early() -> None:
    start = time.perf_counter()
    sent: list[tuple[int, float]] = []
    done = asyncio.Event()

    def send(place: int) -> None:
        sent.append((place, time.perf_counter() - start))
        if place == 9:
            done.set()

    times = [0.002 * n for n in range(10)]
    Pacer(asyncio.get_running_loop(), start, times, send).start()
    await asyncio.wait_for(done.wait(), 10)
    assert [place for place, _ in sent] == list(range(10))
    assert all(at >= due for (_, at), due in zip(sent, times, strict=True))


def test_an_open_loop_sends_what_was_due_and_measures_after_the_warm_up(target: str) -> None:
    driver = Driver(target, load(even=True))
    driver.run()
    assert driver.outcome.sent == 60
    assert driver.outcome.errors == {"INVALID_ARGUMENT": 60}
    assert len(driver.traced) == 60
    assert {call.status for call in driver.traced} == {"INVALID_ARGUMENT"}
    assert len({call.trace_id for call in driver.traced}) == 60


def test_a_closed_loop_asks_until_its_time_is_over(target: str) -> None:
    driver = Driver(target, load(rate=None, concurrency=3, warmup_s=0.0, sample_ratio=0.0))
    driver.run()
    assert driver.outcome.sent >= 3
    assert driver.traced == []


def test_latency_counts_from_when_a_request_was_due() -> None:
    outcome = Outcome()
    outcome.note(due=1.0, sent=1.5, answered=1.51)
    assert milliseconds(outcome.latency)["p50"] == pytest.approx(510, rel=0.002)
    assert milliseconds(outcome.service)["p50"] == pytest.approx(10, rel=0.002)
    assert milliseconds(outcome.lag)["p50"] == pytest.approx(500, rel=0.002)


def test_a_call_that_failed_has_no_latency() -> None:
    outcome = Outcome(seconds=1)
    outcome.note(due=0, sent=0, answered=9, error="UNAVAILABLE")
    assert (outcome.sent, outcome.answered, outcome.rate) == (1, 0, 0)
    assert outcome.as_json()["latency_ms"] == {}
    assert outcome.as_json()["errors"] == {"UNAVAILABLE": 1}


def test_percentiles_keep_three_digits_over_six_decades() -> None:
    outcome = Outcome()
    for n in range(1, 1001):
        outcome.note(due=0, sent=0, answered=n * 0.001)
    outcome.note(due=0, sent=0, answered=1000)
    values = milliseconds(outcome.latency)
    assert values["p50"] == pytest.approx(501, rel=0.003)
    assert values["p100"] == pytest.approx(1_000_000, rel=0.002)
