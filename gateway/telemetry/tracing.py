"""Spans of one call: server, decode, queue, Triton, encode.

Attribute names are OpenTelemetry's semantic conventions for RPC where there is one, else
``trident.*``. Stages are timed as they run and become spans only when they end, and only if
the call is sampled; an unsampled call costs one look at its ``traceparent``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Protocol

from google.rpc import code_pb2
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
_TRITON_METHOD = "inference.GRPCInferenceService/ModelInfer"

# Semantic conventions: only these are the server's fault; the others are answers.
_SERVER_FAULTS = frozenset(
    {
        code_pb2.UNKNOWN,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.UNIMPLEMENTED,
        code_pb2.INTERNAL,
        code_pb2.UNAVAILABLE,
        code_pb2.DATA_LOSS,
    }
)

Attribute = str | int | float | bool


class CallTrace(Protocol):
    """The trace of one call. Cheap when the call is not sampled."""

    def stage(self, name: str, start_ns: int | None = None) -> AbstractContextManager[None]:
        """Time a stage inside the gateway: ``decode``, ``queue`` or ``encode``.

        ``start_ns``: when it began, in ns since 1970, if not on entering.
        """
        ...

    def triton_call(self, model_name: str) -> AbstractContextManager[Mapping[str, str]]:
        """Time a call to Triton; gives the headers to send with it.

        ``traceparent`` is among them only if the call is sampled, because Triton ignores the
        sampled flag.
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
        provider: Samples, and takes the spans; ``None`` traces nothing.
    """

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("trident.gateway") if provider else None

    def start_call(
        self,
        method: str,
        metadata: Mapping[str, str],
        peer: str = "",
        start_ns: int | None = None,
    ) -> CallTrace:
        """Start the server span of a call, below the client's span if it sent one.

        Args:
            method: The full method, ``package.Service/Method``.
            metadata: Of the client, keys in lower case.
            peer: The client's address.
            start_ns: When the call began, in ns since 1970; by default now.
        """
        if self._tracer is None:
            return NO_TRACE
        parent = _PROPAGATOR.extract(metadata)
        span = self._tracer.start_span(
            method,
            context=parent,
            kind=SpanKind.SERVER,
            start_time=start_ns,
            attributes={"rpc.system.name": "grpc", "rpc.method": method, "client.address": peer},
        )
        if not span.is_recording():
            return NO_TRACE
        return SampledCall(self._tracer, span, parent)

    def shutdown(self) -> None:
        """Send what is left and stop."""
        if self._provider is not None:
            self._provider.shutdown()


class SampledCall:
    """The trace of a call that is sampled."""

    def __init__(self, tracer: Tracer, span: Span, parent: Context) -> None:
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span, parent)

    def stage(self, name: str, start_ns: int | None = None) -> AbstractContextManager[None]:
        """Time a stage; its span is made when it ends."""
        return _Stage(self._tracer, self._context, name, start_ns)

    def triton_call(self, model_name: str) -> AbstractContextManager[Mapping[str, str]]:
        """Time a call to Triton, which puts its own spans below this one."""
        return _TritonCall(self._tracer, self._context, model_name)

    def set_release(self, line: str, release: str, variant: str) -> None:
        """Say which release answers."""
        self._span.set_attributes(
            {"trident.line": line, "trident.release": release, "trident.variant": variant}
        )

    def set_attribute(self, name: str, value: Attribute) -> None:
        """Add an attribute to the server span."""
        self._span.set_attribute(name, value)

    def finish(self, code: int, error: BaseException | None = None) -> None:
        """End the server span."""
        name = code_pb2.Code.Name(code)
        self._span.set_attribute("rpc.response.status_code", name)
        if code != code_pb2.OK:
            self._span.set_attribute("error.type", name)
        if code in _SERVER_FAULTS:
            self._span.set_status(Status(StatusCode.ERROR, str(error) if error else None))
            if error is not None:
                self._span.record_exception(error)
        self._span.end()


class _Stage(AbstractContextManager[None]):
    """A stage that becomes a span when it ends."""

    def __init__(self, tracer: Tracer, context: Context, name: str, start_ns: int | None) -> None:
        self._tracer, self._context, self._name = tracer, context, name
        self._start_ns = start_ns

    def __enter__(self) -> None:
        if self._start_ns is None:
            self._start_ns = time.time_ns()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        span = self._tracer.start_span(self._name, self._context, start_time=self._start_ns)
        if exc_type is not None:
            span.set_attribute("error.type", exc_type.__qualname__)
        span.end()


class _TritonCall(AbstractContextManager[Mapping[str, str]]):
    """A client span that is there from the start: Triton's spans need its ID."""

    def __init__(self, tracer: Tracer, context: Context, model_name: str) -> None:
        self._context = context
        self._span = tracer.start_span(
            _TRITON_METHOD,
            context,
            kind=SpanKind.CLIENT,
            attributes={
                "rpc.system.name": "grpc",
                "rpc.method": _TRITON_METHOD,
                "trident.model": model_name,
            },
        )

    def __enter__(self) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, trace.set_span_in_context(self._span, self._context))
        return headers

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self._span.set_attribute("error.type", exc_type.__qualname__)
            self._span.set_status(Status(StatusCode.ERROR, str(exc)))
        self._span.end()


class _NoTrace:
    """The trace of a call that is not sampled."""

    _stage: AbstractContextManager[None] = nullcontext()
    _triton_call: AbstractContextManager[Mapping[str, str]] = nullcontext({})

    def stage(self, name: str, start_ns: int | None = None) -> AbstractContextManager[None]:
        """Time nothing."""
        return self._stage

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
