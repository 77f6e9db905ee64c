from __future__ import annotations

import asyncio
import builtins
import gc
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import uvloop
from fake_runner import FakeRunner, RecordingTracing

from gateway.process_tuning import new_event_loop, settle_garbage
from gateway.transport.grpc_aio import build_server
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.risk.v1.risk_service_pb2 import ScoreRiskRequest
from trident.risk.v1.risk_service_pb2_grpc import RiskServiceStub

CALLS = 2000


@pytest.fixture
def untouched_collector() -> Iterator[None]:
    """The collector of this process is as before afterwards."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def age(number: int) -> float:
    """Each call asks for somebody of another age."""
    return 20 + 60 * number / CALLS


async def call_again_and_again() -> dict[int, float]:
    """What thousands of calls, on some connections and one server, got back."""
    server = build_server(runner=FakeRunner(), tracing=RecordingTracing(), listen="127.0.0.1:0")
    await server.start()
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) for _ in range(8)
    ]
    answers: dict[int, float] = {}

    async def ask(channel: grpc.aio.Channel, numbers: range) -> None:
        stub: Any = RiskServiceStub(channel)
        for number in numbers:
            request = ScoreRiskRequest(features={"age": FeatureValue(number=age(number))})
            answers[number] = (await stub.ScoreRisk(request, timeout=60)).default_probability

    try:
        await asyncio.gather(
            *(ask(channels[place % 8], range(place, CALLS, 64)) for place in range(64))
        )
    finally:
        for channel in channels:
            await channel.close()
        await server.stop(1)
    return answers


def test_a_worker_runs_on_uvloop_where_there_is_one() -> None:
    loop = new_event_loop()
    assert isinstance(loop, uvloop.Loop)
    loop.close()


def test_without_it_it_runs_on_what_python_has(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_uvloop(name: str, *rest: Any, **options: Any) -> Any:
        if name == "uvloop":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_uvloop)
    loop = new_event_loop()
    assert type(loop).__module__.startswith("asyncio.")
    loop.close()


def test_grpc_answers_thousands_of_calls_on_uvloop() -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        answers = runner.run(call_again_and_again())
    assert answers.keys() == set(range(CALLS))
    for number, probability in answers.items():
        assert probability == pytest.approx((90 - age(number)) / 100, abs=1e-6)


@pytest.mark.usefixtures("untouched_collector")
def test_what_is_there_once_all_is_built_is_looked_at_no_more() -> None:
    gc.unfreeze()
    settle_garbage()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] > 700
    assert gc.isenabled()
