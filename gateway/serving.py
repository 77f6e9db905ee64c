"""The composition root: builds everything, serves until it is told to stop, takes it all down."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

from gateway.announcing import Announcer
from gateway.inference.admission import Admission
from gateway.inference.triton_runner import TritonRunner
from gateway.settings import Settings
from gateway.telemetry.building import build_provider
from gateway.telemetry.collector import UnknownCollector
from gateway.telemetry.receiver import OtlpReceiver
from gateway.telemetry.tracing import Tracing
from gateway.telemetry.triton_spans import TritonSpans
from gateway.transport.grpc_aio import AddressInUse, GrpcServer, build_server
from gateway.triton.client import TritonClient
from gateway.triton.lifecycle import Lifecycle
from gateway.triton.variants import lacks
from triton_models.embedded.errors import EmbeddedTritonError
from triton_models.server import EmbeddedTriton
from triton_models.store import ReleaseStore
from triton_models.store_errors import StoreError

_log = logging.getLogger(__name__)

_TRITON_GRACE_S = 10.0
"""For a Triton that nobody asks any more."""


class StartFailed(Exception):
    """The gateway cannot serve at all; the message says why."""


class StopSignals:
    """SIGTERM and SIGINT: the first asks to stop, the second not to wait any longer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()

    def receive(self) -> None:
        """Take a signal."""
        (self.forced if self.asked.is_set() else self.asked).set()


def run(settings: Settings, say: Callable[[str], None]) -> int:
    """Serve until a signal comes; return the exit code.

    Args:
        settings: How to serve.
        say: Prints one line for people.

    Raises:
        StartFailed: If it cannot serve at all.
    """
    return asyncio.run(_run(settings, say))


async def _run(settings: Settings, say: Callable[[str], None]) -> int:
    signals = StopSignals()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.receive)
    try:
        await serve(settings, say, signals)
    except (AddressInUse, EmbeddedTritonError, OSError, StoreError, UnknownCollector) as error:
        raise StartFailed(str(error)) from error
    if signals.forced.is_set():
        say("Stopped without waiting for what was in flight.")
        return 1
    say("Stopped; everything in flight was answered.")
    return 0


async def serve(settings: Settings, say: Callable[[str], None], signals: StopSignals) -> None:
    """Serve until ``signals.asked``; then refuse new calls, finish the others, stop Triton.

    What is pushed last on the stack is taken down first.
    """
    store = ReleaseStore(settings.store)
    announcer = Announcer(say)
    async with AsyncExitStack() as stack:
        tracing, traces_url = await _tracing(settings, stack)
        triton = _embedded_triton(settings, store, traces_url, stack)
        targets = (triton.target,) if triton else settings.triton
        lifecycle = Lifecycle(
            store,
            [TritonClient(target) for target in targets],
            variant=settings.variant,
            load_timeout_s=settings.load_timeout_s,
            on_change=announcer.show,
        )
        stack.push_async_callback(lifecycle.stop)
        server = build_server(
            runner=_runner(settings, lifecycle),
            tracing=tracing,
            listen=settings.listen,
            max_message_bytes=settings.max_message_bytes,
            max_outstanding=settings.max_stream_outstanding,
        )
        stack.push_async_callback(_stop_server, server, settings.grace_s, signals)
        if triton:
            triton.start()
        announcer.introduce(
            address=_address(settings.listen, server.port),
            store=_place(settings.store),
            triton=", ".join(targets) + (" (embedded)" if triton else ""),
            traces=_traces(settings),
        )
        await lifecycle.start()
        _check_variant(settings, lifecycle)
        if not lifecycle.states:
            announcer.empty(settings.store)
        await server.start()
        if triton:
            await _first(
                asyncio.to_thread(triton.wait_ready, settings.ready_timeout_s),
                signals.asked.wait(),
            )
        await signals.asked.wait()
        say("Stopping: new calls are refused, those in flight finish. Once more to stop at once.")


async def _tracing(settings: Settings, stack: AsyncExitStack) -> tuple[Tracing, str | None]:
    """Return tracing, and where the embedded Triton is to send its spans."""
    provider, processors = build_provider(
        service_name="trident-gateway",
        traces_file=settings.traces_file,
        otlp_endpoint=settings.otlp_endpoint,
        sample_ratio=settings.trace_sample_ratio,
    )
    tracing = Tracing(provider, processors)
    stack.push_async_callback(asyncio.to_thread, tracing.shutdown)
    if provider is None or not settings.embedded:
        return tracing, None
    spans = TritonSpans(tracing.export)
    stack.callback(spans.flush)
    receiver = OtlpReceiver(spans)
    stack.push_async_callback(receiver.stop)  # after Triton, which sends what it has when it ends
    await receiver.start()
    return tracing, receiver.url


def _embedded_triton(
    settings: Settings, store: ReleaseStore, traces_url: str | None, stack: AsyncExitStack
) -> EmbeddedTriton | None:
    if not settings.embedded:
        return None
    if "://" in store.models_path:
        raise StartFailed(
            f"The embedded Triton reads a folder, not {settings.store}: "
            "copy the store, or name a Triton that reads it with --triton."
        )
    triton = EmbeddedTriton(
        Path(store.models_path), otlp_traces_url=traces_url, log_file=settings.triton_log_file
    )
    stack.push_async_callback(asyncio.to_thread, triton.stop, _TRITON_GRACE_S)
    return triton


def _runner(settings: Settings, lifecycle: Lifecycle) -> TritonRunner:
    build_admission = partial(
        Admission, in_flight=settings.max_in_flight, waiting=settings.max_waiting
    )
    return TritonRunner(lifecycle, build_admission, call_timeout_s=settings.call_timeout_s)


def _check_variant(settings: Settings, lifecycle: Lifecycle) -> None:
    """Refuse to start with a variant that was asked for and is not there."""
    for state in lifecycle.states:
        if state.manifest is not None and lacks(settings.variant, state.manifest):
            raise StartFailed(
                f"--variant {settings.variant}: {state.line}/{state.release} has only "
                f"{', '.join(state.manifest.variants)}."
            )


async def _stop_server(server: GrpcServer, grace_s: float, signals: StopSignals) -> None:
    """Let what is in flight finish, until ``grace_s`` is over or a second signal comes."""
    await _first(server.stop(grace_s), signals.forced.wait())
    if signals.forced.is_set():
        await server.stop(0)


async def _first(*awaitables: Awaitable[object]) -> None:
    """Return or raise as the first one that is done does; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    for task in done:
        task.result()


def _address(listen: str, port: int) -> str:
    return f"{listen.rpartition(':')[0]}:{port}"


def _place(store: str) -> str:
    """Return where a store is; a folder whole, since it depends on where this was started."""
    return store if "://" in store else str(Path(store).resolve())


def _traces(settings: Settings) -> str:
    places = [str(place) for place in (settings.traces_file, settings.otlp_endpoint) if place]
    return ", ".join(places) or "off"
