"""The supervisor of a gateway: starts Triton and the workers, tells people, takes all down."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from gateway.announcing import Announcer
from gateway.security.hiding import without_secrets
from gateway.settings import Settings
from gateway.starting import StartFailed
from gateway.supervising.commands import worker_command
from gateway.supervising.failures import hearing_failures
from gateway.supervising.listening import HeldAddress
from gateway.supervising.news import WorkerNews
from gateway.supervising.notices import hearing
from gateway.supervising.racing import first
from gateway.supervising.reloading import Reloading, Reread, checked, on_hangup, telling
from gateway.supervising.signals import StopSignals
from gateway.supervising.worker_errors import WorkerErrors
from gateway.supervising.workers import Workers
from gateway.telemetry.building import build_tracing
from gateway.telemetry.collector_address import UnknownCollector
from gateway.telemetry.failed_requests import FailedRequests
from gateway.telemetry.metrics.wanted import metrics_wanted
from gateway.telemetry.receiver import OtlpReceiver
from gateway.telemetry.triton_spans import TritonSpans
from gateway.worker import Worker
from triton_models.embedded.errors import EmbeddedTritonError
from triton_models.following import FollowingProcess
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore

if TYPE_CHECKING:  # numpy and grpc are for a supervisor only that shows metrics
    from gateway.telemetry.metrics.building import GatewayMetrics
    from gateway.telemetry.span import Span

_TRITON_GRACE_S = 10.0
"""For a Triton that nobody asks any more."""
_MANY_TRACES = 0.5
"""Share of sampled calls from which Triton traces all requests: below, most of that work would be
for nothing, and it is better that a tenth of the traces have no spans of Triton."""

_STANDARD_ERROR = 2

_WORKER_END_S = 10.0
"""What a worker has beyond the grace, to send its last spans and end."""


def run(settings: Settings, say: Callable[[str], None], reread: Reread | None = None) -> int:
    """Serve until a signal comes; return the exit code.

    Args:
        settings: How to serve.
        say: Prints one line for people.
        reread: Reads the settings anew on SIGHUP; ``None``: they never change.

    Raises:
        StartFailed: If it cannot serve at all.
    """
    return asyncio.run(_run(settings, say, reread))


async def _run(settings: Settings, say: Callable[[str], None], reread: Reread | None = None) -> int:
    signals = StopSignals()
    signals.listen()
    try:
        clean = await serve(settings, say, signals, reread)
    except (EmbeddedTritonError, OSError, UnknownCollector) as error:
        raise StartFailed(str(error)) from error
    if signals.forced.is_set():
        say("Stopped without waiting for what was in flight.")
    elif clean:
        say("Stopped; everything in flight was answered.")
    else:
        say("Stopped; a worker did not end as it was asked to.")
    return 0 if clean and not signals.forced.is_set() else 1


async def serve(
    settings: Settings,
    say: Callable[[str], None],
    signals: StopSignals,
    reread: Reread | None = None,
) -> bool:
    """Serve until ``signals.asked``; then let the workers finish, stop Triton.

    Returns:
        Whether every worker ended as it was asked to.
    """
    clean = True
    announcer = Announcer(say)
    news = WorkerNews(announcer, without_secrets(settings.store))
    async with AsyncExitStack() as stack:  # what is pushed last is taken down first
        held = stack.enter_context(HeldAddress(settings.listen))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trident-")))
        await stack.enter_async_context(hearing(folder, news.hear))
        metrics = _metrics(settings, folder, stack, news, signals)
        failed = FailedRequests()
        triton, receiver = _embedded_triton(settings, metrics, failed, stack)
        if receiver:
            await stack.enter_async_context(hearing_failures(folder, failed))
        if metrics:  # it asks Triton once more when the workers have ended, so it ends before that
            stack.push_async_callback(asyncio.to_thread, metrics.stop)
        targets = (triton.target,) if triton else settings.triton
        reloading = Reloading(settings, checked(reread) if reread else lambda: settings, say)

        def of_worker(whole: Settings) -> Settings:
            return whole.of_worker(listen=str(held), triton=targets)

        errors = WorkerErrors(_STANDARD_ERROR)
        stack.callback(errors.close)
        workers = Workers(
            settings.worker_count,
            _launcher(lambda: of_worker(reloading.current), folder, errors),
            news.end,
        )
        if reread is not None:
            on_hangup(telling(reloading, folder, of_worker), signals.receive)

        async def stop_workers() -> None:
            nonlocal clean
            clean = await workers.stop(settings.grace_s + _WORKER_END_S, signals.forced)

        stack.push_async_callback(stop_workers)
        if metrics:
            from gateway.connecting import triton_tls
            from gateway.metering import gather

            tls = triton_tls(settings)
            gather(metrics, workers, targets, embedded=triton is not None, tls=tls)
        workers.start()
        await asyncio.sleep(0)  # the workers' imports are what takes longest: they go first
        if triton:
            triton.start()
        if receiver:
            await receiver.start()
        announcer.introduce(
            address=f"{held}{_how_many(settings.worker_count)}",
            store=_place(settings.store),
            triton=", ".join(targets) + (" (embedded)" if triton else ""),
            traces=_traces(settings),
            metrics=metrics.where if metrics else "off",
        )
        await first(_started(news, triton, settings.ready_timeout_s), signals.asked.wait())
        await signals.asked.wait()
        say("Stopping: new calls are refused, those in flight finish. Once more to stop at once.")
    return clean


async def _started(news: WorkerNews, triton: EmbeddedTriton | None, timeout_s: float) -> None:
    """Wait until a worker takes calls and Triton answers."""
    if triton is None:
        await news.started
    else:
        await asyncio.gather(news.started, asyncio.to_thread(triton.wait_ready, timeout_s))


def _launcher(
    settings: Callable[[], Settings], folder: Path, errors: WorkerErrors
) -> Callable[[int], FollowingProcess]:
    """Return what starts a worker, with the settings that are in force then."""
    gateway_id = uuid4()
    command = worker_command(settings())

    def launch(number: int) -> FollowingProcess:
        worker = Worker(settings(), number, f"{gateway_id}-{number}", folder)
        said = errors.open()
        try:
            return FollowingProcess(command, os.environ | worker.environment(), errors=said)
        finally:
            os.close(said)

    return launch


def _embedded_triton(
    settings: Settings,
    metrics: GatewayMetrics | None,
    failed: FailedRequests,
    stack: AsyncExitStack,
) -> tuple[EmbeddedTriton | None, OtlpReceiver | None]:
    """Return the embedded Triton, if there is to be one, and where it sends its spans."""
    if not settings.embedded:
        if settings.triton_instances != "auto":
            raise StartFailed("--triton-instances is for --embedded; yours has its own.")
        return None, None
    models = ReleaseStore(settings.store).models_path
    if "://" in models:
        raise StartFailed(
            f"The embedded Triton reads a folder, not {settings.store}: "
            "copy the store, or name a Triton that reads it with --triton."
        )
    receiver = _triton_receiver(settings, metrics, failed, stack)
    triton = EmbeddedTriton(
        Path(models),
        otlp_traces_url=receiver.url if receiver else None,
        trace_all=settings.trace_sample_ratio >= _MANY_TRACES,
        log_file=settings.triton_log_file,
    )
    stack.push_async_callback(asyncio.to_thread, triton.stop, _TRITON_GRACE_S)
    return triton, receiver


def _triton_receiver(
    settings: Settings,
    metrics: GatewayMetrics | None,
    failed: FailedRequests,
    stack: AsyncExitStack,
) -> OtlpReceiver | None:
    """Return what takes Triton's spans to where those of the workers go, and to the metrics."""
    tracing = build_tracing(
        service_name="triton",
        traces_file=settings.traces_file,
        otlp_endpoint=settings.otlp_endpoint,
    )
    if not tracing.is_on:
        return None
    stack.push_async_callback(asyncio.to_thread, tracing.shutdown)
    if metrics is not None:
        from gateway.metering import count_dropped

        count_dropped(metrics, tracing)

    def take(spans: Sequence[Span]) -> None:
        tracing.export(spans)
        if metrics is not None:
            metrics.steps.add(spans)

    spans = TritonSpans(take, failure_of=failed.take)
    stack.callback(spans.flush)
    receiver = OtlpReceiver(spans)
    stack.push_async_callback(receiver.stop)  # after Triton, which sends what it has when it ends
    return receiver


def _metrics(
    settings: Settings,
    folder: Path,
    stack: AsyncExitStack,
    news: WorkerNews,
    signals: StopSignals,
) -> GatewayMetrics | None:
    """Return what shows and sends metrics, if anybody wants any; it listens, and shows nothing."""
    if not metrics_wanted(settings.metrics_listen):
        return None
    from gateway.metering import listen_for_metrics
    from gateway.supervising.readiness import probes

    metrics = listen_for_metrics(
        folder, settings.metrics_listen, probes(news, signals.asked.is_set)
    )
    stack.push_async_callback(asyncio.to_thread, metrics.stop)
    return metrics


def _how_many(workers: int) -> str:
    return "" if workers == 1 else f" ({workers} workers)"


def _place(store: str) -> str:
    """Return where a store is; a folder whole, since it depends on where this was started."""
    return without_secrets(store) if "://" in store else str(Path(store).resolve())


def _traces(settings: Settings) -> str:
    places = [
        without_secrets(str(place))
        for place in (settings.traces_file, settings.otlp_endpoint)
        if place
    ]
    return ", ".join(places) or "off"
