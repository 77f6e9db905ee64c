"""Spans of one call: server, decode, queue, Triton, encode.

Attribute names are OpenTelemetry's semantic conventions for RPC where there is one, else
``trident.*``. Stages are timed as they run and become spans only when they end, and only if
the call is sampled; an unsampled call costs one look at its ``traceparent``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind

from gateway.telemetry.sampled_call import PROPAGATOR, Attribute, SampledCall
from gateway.telemetry.shutdown import DEFAULT_TIMEOUT_S, shut_down


class CallTrace(Protocol):
    """The trace of one call. Cheap when the call is not sampled."""

    @property
    def sampled(self) -> bool:
        """Whether anything is recorded."""
        ...

    def add_stage(self, name: str, start_ns: int, end_ns: int) -> None:
        """Add a stage that is over; times in ns since 1970."""
        ...

    def stage(self, name: str, start_ns: int | None = None) -> AbstractContextManager[None]:
        """Time a stage inside the gateway: ``decode``, ``queue``, ``admission`` or ``encode``.

        ``start_ns``: when it began, in ns since 1970, if not on entering.
        """
        ...

    def triton_call(self, model_name: str) -> AbstractContextManager[Mapping[str, str]]:
        """Time a call to Triton; gives the headers to send with it.

        ``traceparent`` is among them only if the call is sampled, because Triton ignores the
        sampled flag. Send it as the request's ``id`` too: Triton overlooks the header now and
        then, and its spans are put in their place by the ID (:mod:`.triton_spans`).
        """
        ...

    def set_release(self, line: str, release: str, variant: str) -> None:
        """Say which release answers."""
        ...

    def set_attribute(self, name: str, value: Attribute) -> None:
        """Add an attribute to the server span."""
        ...

    def finish(self, code: int, error: BaseException | None = None) -> None:
        """End the server span with a ``google.rpc.Code`` and what went wrong, if anything."""
        ...


class Tracing:
    """Starts the trace of each call.

    Args:
        provider: Samples, and makes the spans; ``None`` traces nothing.
        processors: Take spans that other processes made, on their way to the exporters.
    """

    def __init__(
        self, provider: TracerProvider | None, processors: Sequence[SpanProcessor] = ()
    ) -> None:
        self._provider = provider
        self._processors = tuple(processors)
        self._tracer = provider.get_tracer("trident.gateway") if provider else None

    def start_call(
        self,
        method: str,
        metadata: Mapping[str, str],
        peer: Callable[[], str] = str,
        start_ns: int | None = None,
    ) -> CallTrace:
        """Start the server span of a call, below the client's span if it sent one.

        Args:
            method: The full method, ``package.Service/Method``.
            metadata: Of the client, keys in lower case.
            peer: Gives the client's address, as gRPC writes it; asked only if it is traced.
            start_ns: When the call began, in ns since 1970; by default now.
        """
        if self._tracer is None:
            return NO_TRACE
        # An empty context, never the one that happens to be current in this task.
        parent = PROPAGATOR.extract(metadata, Context())
        span = self._tracer.start_span(
            method,
            context=parent,
            kind=SpanKind.SERVER,
            start_time=start_ns,
            attributes={"rpc.system.name": "grpc", "rpc.method": method},
        )
        if not span.is_recording():
            return NO_TRACE
        return SampledCall(self._tracer, span, parent, peer())

    def export(self, spans: Sequence[ReadableSpan]) -> None:
        """Send finished spans of another process where ours go. Returns at once."""
        for span in spans:
            for processor in self._processors:
                processor.on_end(span)

    def shutdown(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send what is left and stop, ``timeout_s`` at most. Can be repeated."""
        if self._provider is not None:
            provider, self._provider, self._tracer = self._provider, None, None
            shut_down(provider, timeout_s)


class _NoTrace:
    """The trace of a call that is not sampled."""

    sampled = False
    _stage: AbstractContextManager[None] = nullcontext()
    _triton_call: AbstractContextManager[Mapping[str, str]] = nullcontext({})

    def stage(self, name: str, start_ns: int | None = None) -> AbstractContextManager[None]:
        """Time nothing."""
        return self._stage

    def add_stage(self, name: str, start_ns: int, end_ns: int) -> None:
        """Drop it."""

    def triton_call(self, model_name: str) -> AbstractContextManager[Mapping[str, str]]:
        """Give no headers: Triton would trace whatever has a ``traceparent``."""
        return self._triton_call

    def set_release(self, line: str, release: str, variant: str) -> None:
        """Drop it."""

    def set_attribute(self, name: str, value: Attribute) -> None:
        """Drop it."""

    def finish(self, code: int, error: BaseException | None = None) -> None:
        """End nothing."""


NO_TRACE: CallTrace = _NoTrace()
