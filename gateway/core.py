"""What answers calls, whichever transport they come by: tracing, Tritons, lifecycle, runner.

It knows no signal, no server and no embedded Triton, and lives in whatever event loop enters it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from gateway.auditing import Audit, writing_down
from gateway.connecting import triton_tls
from gateway.inference.admission import Admission
from gateway.inference.caching import AnswerCache
from gateway.inference.runner import ModelRunner
from gateway.inference.triton_runner import TritonRunner
from gateway.live_settings import Apply
from gateway.protecting import guarding
from gateway.security.errors import UnusableFile
from gateway.settings import Settings
from gateway.settings_limits import ClientLimit
from gateway.starting import StartFailed
from gateway.telemetry.building import build_tracing
from gateway.telemetry.collector_address import UnknownCollector
from gateway.telemetry.failed_requests import TellFailed
from gateway.telemetry.metrics.instruments import DROPPED_SPANS
from gateway.telemetry.metrics.readings import Reading
from gateway.telemetry.tracing import Tracing
from gateway.transport.entrance import Entrance
from gateway.transport.guarding import Guard
from gateway.triton.client import TritonClient
from gateway.triton.discovery import Discovery
from gateway.triton.lifecycle import Lifecycle
from gateway.triton.loading import ConfigOf
from gateway.triton.states import ReleaseState
from gateway.triton.variants import lacks
from triton_models.embedded.instances import config_with_instances
from triton_models.plan_check import RunsOn
from triton_models.signing import SigningImpossible, Verifier
from triton_models.store import ReleaseStore
from triton_models.store_errors import StoreError
from triton_models.trust import Trust

if TYPE_CHECKING:  # what counts is for workers only whose numbers somebody wants
    from gateway.telemetry.metrics.reporter import Metrics


@dataclass(frozen=True)
class Core:
    """What a transport needs to answer."""

    runner: ModelRunner
    tracing: Tracing
    cache: AnswerCache[bytes] | None = None
    """For answers as they go out; ``None`` if none are to be kept."""
    metrics: Metrics | None = None
    """Counts what is served; ``None`` if nobody wants to know."""
    guard: Guard | None = None
    """Says who calls; ``None`` if nobody has to say."""
    audit: Audit | None = None
    """Writes calls down; ``None`` if nobody wants that."""
    entrance: Entrance = field(default_factory=Entrance)
    """Lets calls in."""
    live: Sequence[Apply] = ()
    """What makes new settings take effect."""


@asynccontextmanager
async def running_core(
    settings: Settings,
    *,
    instance_id: str | None = None,
    on_change: Callable[[Sequence[ReleaseState]], None] = lambda states: None,
    metrics: Metrics | None = None,
    tell_failed: TellFailed = lambda request: None,
) -> AsyncIterator[Core]:
    """Give what answers; on leaving, look after Triton no more and send the last spans.

    Leave it when no call is in flight any more.

    Args:
        settings: ``triton`` says where to ask; that one of them is embedded is not known here.
        instance_id: ``service.instance.id`` of the spans; by default one of its own.
        on_change: Called whenever the state of a release has changed, in this event loop.
        metrics: Reads what is kept here, if there are to be metrics.
        tell_failed: Is told of each request that Triton traces and has failed.

    Raises:
        StartFailed: If the routes, a key, a certificate, the collector or the variant cannot be
            had.
    """
    cache = _cache(settings)

    def change(states: Sequence[ReleaseState]) -> None:
        if cache is not None:
            cache.keep_only({s.manifest.model_of(s.variant) for s in states if s.manifest})
        on_change(states)

    async with AsyncExitStack() as stack:
        try:
            tracing = build_tracing(
                traces_file=settings.traces_file,
                otlp_endpoint=settings.otlp_endpoint,
                sample_ratio=settings.trace_sample_ratio,
                keep_errors=settings.trace_keep_errors,
                keep_slower_s=settings.trace_keep_slower_s,
                instance_id=instance_id,
                sink=metrics.sink if metrics is not None else None,
                always_noted=settings.access_log is not None or settings.payload_log is not None,
            )
            # What is pushed last is taken down first.
            stack.push_async_callback(asyncio.to_thread, tracing.shutdown)
            guarded = stack.enter_context(guarding(settings))
            audit = stack.enter_context(writing_down(settings, _worker_name(instance_id)))
            tls = triton_tls(settings)
            tritons = Discovery(
                settings.triton,
                lambda one, name: TritonClient(
                    one, settings.shared_memory_bytes, tls, name, settings.triton_cancelling
                ),
            )
            lifecycle = Lifecycle(
                ReleaseStore(settings.store),
                await tritons.look(),
                discover=tritons.look if tritons.changes else None,
                where=_where(settings),
                variant=settings.variant,
                load_timeout_s=settings.load_timeout_s,
                config_of=_config_of(settings),
                trust=_trust(settings),
                unload_after_s=settings.unload_after_s,
                on_change=change,
            )
            stack.push_async_callback(lifecycle.stop)
            await lifecycle.start()
        except (OSError, StoreError, SigningImpossible, UnknownCollector, UnusableFile) as error:
            raise StartFailed(str(error)) from error
        _check_variant(settings, lifecycle)
        runner = _runner(settings, lifecycle, tell_failed)
        if metrics is not None:
            metrics.gauges(lambda: (Reading(DROPPED_SPANS, (), tracing.dropped_spans),))
            metrics.gauges(runner.readings)
            metrics.gauges(lifecycle.readings)
            if cache is not None:
                metrics.gauges(cache.readings)
            if audit is not None:
                metrics.gauges(audit.readings)
            if guarded is not None:
                metrics.gauges(guarded.readings)
        lifecycle.ask_before_unloading(runner.busy)
        lifecycle.judge_with(runner.suspicions)
        stack.push_async_callback(runner.shadowing.close)
        entrance = Entrance(*_limits(settings))
        live = [_tracing_settings(tracing), _runner_settings(runner), _limit_settings(entrance)]
        live += [one.change for one in (guarded, audit) if one is not None]
        guard = guarded.guard if guarded is not None else None
        yield Core(runner, tracing, cache, metrics, guard, audit, entrance, live)


def _tracing_settings(tracing: Tracing) -> Apply:
    """Return what changes which traces are kept."""

    def apply(settings: Settings) -> None:
        tracing.keep(
            settings.trace_sample_ratio, settings.trace_keep_errors, settings.trace_keep_slower_s
        )

    return apply


def _runner_settings(runner: TritonRunner) -> Apply:
    """Return what changes how long calls have."""

    def apply(settings: Settings) -> None:
        runner.call_timeout_s = settings.call_timeout_s

    return apply


def _limit_settings(entrance: Entrance) -> Apply:
    """Return what changes what clients and domains may have."""

    def apply(settings: Settings) -> None:
        entrance.change(*_limits(settings))

    return apply


def _limits(
    settings: Settings,
) -> tuple[ClientLimit, Mapping[str, ClientLimit], Mapping[str, int]]:
    return settings.client_limit, settings.client_limits, dict(settings.domain_limits.items())


def _worker_name(instance_id: str | None) -> str:
    """Return the part of files' names that no other worker has."""
    return (instance_id or uuid4().hex).replace("-", "")[-16:]


def _cache(settings: Settings) -> AnswerCache[bytes] | None:
    if not settings.cache_bytes:
        return None
    return AnswerCache(settings.cache_bytes, settings.cache_entries, len)


def _runner(settings: Settings, lifecycle: Lifecycle, tell_failed: TellFailed) -> TritonRunner:
    build_admission = partial(
        Admission,
        in_flight=settings.max_in_flight,
        waiting=settings.max_waiting,
        adaptive=settings.adaptive_limit,
    )
    return TritonRunner(
        lifecycle,
        build_admission,
        call_timeout_s=settings.call_timeout_s,
        hedging=settings.hedging,
        tell_failed=tell_failed,
    )


def _trust(settings: Settings) -> Trust:
    """Return what is asked of releases; raises SigningImpossible."""
    if settings.public_key is None:
        return Trust()
    return Trust(Verifier(settings.public_key), settings.require_signed)


def _config_of(settings: Settings) -> ConfigOf | None:
    """Return how models are configured that an embedded Triton runs several times."""
    if settings.triton_instances == "auto":
        return None
    models = Path(ReleaseStore(settings.store).models_path)
    return partial(config_with_instances, models, count=settings.triton_instances)


def _where(settings: Settings) -> RunsOn | None:
    """Return what is known of the Tritons; ``None``: nothing. An embedded one has no profile."""
    if settings.triton_instances != "auto":
        return RunsOn()
    if settings.triton_profile is None:
        return None
    return RunsOn(settings.triton_profile, settings.triton_gpu, settings.triton_tensorrt)


def _check_variant(settings: Settings, lifecycle: Lifecycle) -> None:
    """Refuse to start with a variant that was asked for and is not there."""
    for state in lifecycle.states:
        if state.manifest is not None and lacks(settings.variant, state.manifest):
            raise StartFailed(
                f"--variant {settings.variant}: {state.line}/{state.release} has only "
                f"{', '.join(state.manifest.variants)}."
            )
