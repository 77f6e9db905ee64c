"""The services of a worker, as its settings want them, whichever transport serves them."""

from __future__ import annotations

from gateway.core import Core
from gateway.settings import Settings
from gateway.transport.companies import Batching
from gateway.transport.services import Services, build_services


def services_of(core: Core, settings: Settings) -> Services:
    """Return what a transport serves, not started.

    Args:
        core: Answers.
        settings: Of the worker.
    """
    services = build_services(
        core.runner,
        core.tracing,
        max_outstanding=settings.max_stream_outstanding,
        batching=Batching(
            max_rows=settings.max_batch_rows,
            max_waiting=settings.max_waiting,
            max_wait_s=settings.max_batch_wait_s,
            stands_s=settings.queue_stands_s,
        ),
        cache=core.cache,
        entrance=core.entrance,
        reflection_enabled=settings.reflection,
        guard=core.guard,
        auditing=core.audit.auditing if core.audit is not None else None,
    )
    if core.metrics is not None:
        core.metrics.gauges(services.readings)
    return services
