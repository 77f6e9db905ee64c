"""What a transport's services say of themselves in the metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_runner import FakeCall, FakeRunner

from gateway.domains import risk
from gateway.errors import Overloaded
from gateway.inference.caching import AnswerCache
from gateway.telemetry.building import build_tracing
from gateway.transport.answering import Answering
from gateway.transport.companies import Batching
from gateway.transport.services import build_services
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.risk.v1.risk_service_pb2 import ScoreRiskRequest

REQUEST = ScoreRiskRequest(features={"age": FeatureValue(number=40)})


def read(source: Any) -> dict[tuple[str, tuple[str, ...]], float]:
    return {(one.instrument.name, one.labels): one.value for one in source.readings()}


async def test_how_many_wait_for_company_and_were_refused(runner: FakeRunner) -> None:
    answering = Answering(runner, batching=Batching(max_waiting=1))
    runner.hold()
    first = asyncio.create_task(answering.one(risk, REQUEST, FakeCall()))
    await runner.wait(lambda: runner.running == 1)
    second = asyncio.create_task(answering.one(risk, REQUEST, FakeCall()))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await answering.one(risk, REQUEST, FakeCall())

    place = ("queue", "score-risk")
    assert read(answering) == {
        ("trident.calls.waiting", place): 1,
        ("trident.calls.waiting.limit", place): 1,
        ("trident.calls.refused", (*place, "full")): 1,
    }

    runner.release()
    await asyncio.gather(first, second)
    assert read(answering)["trident.calls.waiting", place] == 0


@pytest.mark.parametrize(("stands_s", "stands"), [(0.0, True), (None, False)])
async def test_a_queue_stands_as_it_was_asked_for(
    stands_s: float | None, stands: bool, runner: FakeRunner
) -> None:
    answering = Answering(runner, batching=Batching(stands_s=stands_s))
    await answering.one(risk, REQUEST, FakeCall())
    (batcher,) = answering._companies._batchers.values()
    batcher.forecast.rate = 1.0
    assert (batcher.forecast.limit(float("inf")) is not None) == stands


async def test_services_say_how_many_calls_are_answered(runner: FakeRunner) -> None:
    services = build_services(runner, build_tracing(environment={}))

    assert read(services) == {("trident.calls.active", ()): 0}
    assert services.rpcs.in_flight == 0


async def test_a_cache_says_what_it_spared() -> None:
    cache: AnswerCache[bytes] = AnswerCache(10_000, 10, len)

    async def run() -> bytes:
        return b"answer"

    for _ in range(3):
        await cache.get(b"key", run, model="m")

    found = read(cache)
    assert found["trident.cache.hits", ()] == 2
    assert found["trident.cache.misses", ()] == 1
    assert found["trident.cache.entries", ()] == 1
    assert found["trident.cache.size", ()] == cache.kept_bytes > len(b"answer")


async def test_a_batch_waits_as_long_as_it_was_told(runner: FakeRunner) -> None:
    answering = Answering(runner, batching=Batching(max_wait_s=0.0001))
    await answering.one(risk, REQUEST, FakeCall())
    (batcher,) = answering._companies._batchers.values()
    now = batcher._loop.time()
    batcher._pace.came(now)
    assert batcher._pace.patience(now, waiting_since=now) == pytest.approx(0.0001)
