from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc
import pytest
from fake_runner import FakeRunner, route
from grpc_health.v1 import health_pb2, health_pb2_grpc
from manifests import manifest

from gateway.transport.grpc_aio import GrpcServer
from gateway.transport.health import DOMAIN_SERVICES, MODEL_SERVICE, HealthFollower, statuses
from trident.diagnose.v1 import diagnose_service_pb2
from trident.model.v1 import model_service_pb2
from trident.recommend.v1 import recommend_service_pb2
from trident.risk.v1 import risk_service_pb2
from triton_models.signatures import DOMAIN_LINES

RECOMMEND = "trident.recommend.v1.RecommendService"
RISK = "trident.risk.v1.RiskService"
UP = health_pb2.HealthCheckResponse.SERVING
DOWN = health_pb2.HealthCheckResponse.NOT_SERVING

good = route(manifest("recommend"))
bad = route(manifest("recommend", "r2"), serving=False, detail="not loaded")
risk = route(manifest("score-risk"))


@pytest.mark.parametrize(
    ("routes", "whole", "recommend", "of_risk"),
    [
        ([], DOWN, DOWN, DOWN),
        ([good], UP, UP, DOWN),
        ([good, bad], UP, UP, DOWN),
        ([bad], DOWN, DOWN, DOWN),
        ([bad, risk], DOWN, DOWN, UP),
        ([good, risk], UP, UP, UP),
    ],
    ids=["nothing", "one", "one of two releases", "none", "one of two domains", "all"],
)
def test_a_domain_serves_if_one_of_its_releases_does(
    routes: list[object], whole: int, recommend: int, of_risk: int
) -> None:
    health = statuses(routes)  # type: ignore[arg-type]
    assert (health[""], health[RECOMMEND], health[RISK]) == (whole, recommend, of_risk)
    assert health[MODEL_SERVICE] == UP


def test_the_names_are_those_of_the_services() -> None:
    modules = (recommend_service_pb2, diagnose_service_pb2, risk_service_pb2, model_service_pb2)
    names = {
        service.full_name
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    assert {*DOMAIN_SERVICES.values(), MODEL_SERVICE} == names
    assert DOMAIN_SERVICES.keys() == DOMAIN_LINES.keys()


@pytest.fixture
async def health(channel: grpc.aio.Channel) -> health_pb2_grpc.HealthStub:
    """A client of the health service."""
    return health_pb2_grpc.HealthStub(channel)


async def test_every_service_answers_and_an_unknown_one_is_not_found(
    health: health_pb2_grpc.HealthStub,
) -> None:
    for service in ("", *DOMAIN_SERVICES.values(), MODEL_SERVICE):
        response = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert response.status == UP
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await health.Check(health_pb2.HealthCheckRequest(service="trident.weather.v1.Weather"))
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


async def test_the_health_follows_the_runner_there_and_back(
    runner: FakeRunner, health: health_pb2_grpc.HealthStub
) -> None:
    watch = health.Watch(health_pb2.HealthCheckRequest(service=RISK), timeout=20)
    assert (await watch.read()).status == UP
    serving = runner.states
    runner.states = [
        replace(state, serving=False) if state.line == "score-risk" else state for state in serving
    ]
    assert (await watch.read()).status == DOWN
    whole = await health.Check(health_pb2.HealthCheckRequest())
    other = await health.Check(health_pb2.HealthCheckRequest(service=RECOMMEND))
    # Nor does one domain that cannot be asked take the others out of use.
    assert (whole.status, other.status) == (UP, UP)
    runner.states = serving
    assert (await watch.read()).status == UP
    watch.cancel()


async def test_the_whole_serves_first_with_all_domains_and_then_as_long_as_any_does(
    runner: FakeRunner, health: health_pb2_grpc.HealthStub
) -> None:
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=20)
    assert (await watch.read()).status == UP
    runner.states = [replace(state, serving=False) for state in runner.states]
    assert (await watch.read()).status == DOWN
    runner.states = [good, replace(risk, serving=False)]
    assert (await watch.read()).status == UP
    watch.cancel()


async def test_a_gateway_that_was_never_whole_waits_for_every_routed_domain() -> None:
    runner = FakeRunner()
    runner.states = [bad, risk]
    follower = HealthFollower(runner)
    await follower.start()
    whole = await follower.servicer.Check(health_pb2.HealthCheckRequest(), None)  # type: ignore[arg-type]
    assert whole.status == DOWN
    await follower.stop()


async def test_a_runner_that_fails_once_does_not_freeze_the_health(
    runner: FakeRunner, health: health_pb2_grpc.HealthStub, caplog: pytest.LogCaptureFixture
) -> None:
    watch = health.Watch(health_pb2.HealthCheckRequest(service=RISK), timeout=20)
    assert (await watch.read()).status == UP
    failed = asyncio.Event()

    def fail_once() -> list[object]:
        del runner.routes  # type: ignore[attr-defined]
        failed.set()
        runner.states = []
        raise RuntimeError("the store is away")

    runner.routes = fail_once  # type: ignore[method-assign, assignment]
    await failed.wait()
    assert (await watch.read()).status == DOWN
    assert "Cannot tell the health" in caplog.text
    watch.cancel()


async def test_draining_says_not_serving_everywhere_and_for_good(
    server: GrpcServer, runner: FakeRunner, health: health_pb2_grpc.HealthStub
) -> None:
    await server.drain()
    for service in ("", *DOMAIN_SERVICES.values(), MODEL_SERVICE):
        response = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert response.status == DOWN
