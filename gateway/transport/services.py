"""Everything that a gateway serves, for any transport: its RPCs and their health."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import ServiceDescriptor

from gateway.inference.caching import AnswerCache
from gateway.inference.runner import ModelRunner
from gateway.telemetry.metrics.instruments import ACTIVE_CALLS
from gateway.telemetry.metrics.readings import Read, Reading
from gateway.telemetry.tracing import Tracing
from gateway.transport.answering import MAX_OUTSTANDING, Answering
from gateway.transport.api import DIAGNOSE, MODEL, RECOMMEND, RISK
from gateway.transport.auditing import Auditing
from gateway.transport.companies import Batching
from gateway.transport.entrance import Entrance
from gateway.transport.guarding import Guard
from gateway.transport.health import DEFAULT_POLL_S, HealthFollower
from gateway.transport.infrastructure import HEALTH, REFLECTION
from gateway.transport.model_service import ModelServicer
from gateway.transport.reflection import ReflectionServicer
from gateway.transport.rpcs import Rpcs
from gateway.transport.servicers import DiagnoseServicer, RecommendServicer, RiskServicer


class Services:
    """What a transport serves. It starts and ends with the transport.

    Args:
        rpcs: All RPCs.
        health: Follows what they can answer.
        read: Reads the metrics of what answers.
    """

    def __init__(self, rpcs: Rpcs, health: HealthFollower, read: Read = tuple) -> None:
        self.rpcs = rpcs
        self._health = health
        self._read = read

    def readings(self) -> Iterator[Reading]:
        """Yield the metrics of what is going on."""
        yield Reading(ACTIVE_CALLS, (), self.rpcs.in_flight)
        yield from self._read()

    async def start(self) -> None:
        """Tell the health as it is, and follow it."""
        await self._health.start()

    async def drain(self) -> None:
        """Say NOT_SERVING and refuse new calls; those in flight go on."""
        self.rpcs.drain()
        await self._health.stop()

    async def wait_idle(self, timeout_s: float) -> None:
        """Wait until nothing is in flight after :meth:`drain`, ``timeout_s`` at most."""
        await self.rpcs.wait_idle(timeout_s)


def build_services(
    runner: ModelRunner,
    tracing: Tracing,
    *,
    max_outstanding: int = MAX_OUTSTANDING,
    batching: Batching | None = None,
    cache: AnswerCache[bytes] | None = None,
    health_poll_s: float = DEFAULT_POLL_S,
    reflection_enabled: bool = True,
    entrance: Entrance | None = None,
    guard: Guard | None = None,
    auditing: Auditing | None = None,
) -> Services:
    """Return every service.

    Args:
        runner: Answers.
        tracing: Starts the trace of each call.
        max_outstanding: Elements of one stream that are answered at a time.
        batching: How single calls are put together.
        cache: Keeps answers, if they are to be given again.
        health_poll_s: How often the health follows the runner.
        reflection_enabled: Whether clients may list the services.
        guard: Says who calls, where calls must say so.
        auditing: Writes calls down, where that is wanted.
        entrance: Lets calls in, where clients or domains have limits.
    """
    rpcs = Rpcs(tracing, guard, auditing)
    answering = Answering(runner, max_outstanding, batching, cache, entrance)
    services: list[tuple[ServiceDescriptor, object]] = [
        (RECOMMEND, RecommendServicer(answering)),
        (DIAGNOSE, DiagnoseServicer(answering)),
        (RISK, RiskServicer(answering)),
        (MODEL, ModelServicer(runner, entrance)),
    ]
    for descriptor, servicer in services:
        rpcs.add_service(descriptor, servicer)
    health = HealthFollower(runner, health_poll_s)
    rpcs.add_service(HEALTH, health.servicer, infrastructure=True, open_to_all=True)
    if reflection_enabled:
        described = [descriptor for descriptor, _ in services]
        add_reflection(rpcs, [*described, HEALTH])
    return Services(rpcs, health, answering.readings)


def add_reflection(rpcs: Rpcs, described: list[ServiceDescriptor]) -> None:
    """Describe services, and reflection itself, to clients that ask."""
    names = [service.full_name for service in (*described, *REFLECTION)]
    for service in REFLECTION:
        response_type = service.methods_by_name["ServerReflectionInfo"].output_type
        servicer = ReflectionServicer(response_type, names)
        rpcs.add_service(service, servicer, infrastructure=True)
