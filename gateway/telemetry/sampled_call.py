"""The spans of a call that is sampled: server, its stages, and the call to Triton."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType, TracebackType
from urllib.parse import unquote

from google.rpc import code_pb2
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PROPAGATOR = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
"""W3C headers. Not the global one: what this process passes on is not for others to set."""

TRITON_METHOD = "inference.GRPCInferenceService/ModelInfer"

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


class SampledCall:
    """The trace of a call that is sampled.

    Args:
        tracer: Makes the spans.
        span: The server span, started.
        parent: What the client sent: its span and its baggage.
        peer: The client's address, as gRPC writes it.
    """

    sampled = True

    def __init__(self, tracer: Tracer, span: Span, parent: Context, peer: str) -> None:
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span, parent)
        span.set_attributes(peer_attributes(peer))

    def stage(self, name: str, start_ns: int | None = None) -> AbstractContextManager[None]:
        """Time a stage; its span is made when it ends."""
        return _Stage(self._tracer, self._context, name, start_ns)

    def add_stage(self, name: str, start_ns: int, end_ns: int) -> None:
        """Add a stage that is over."""
        self._tracer.start_span(name, self._context, start_time=start_ns).end(end_ns)

    def start_span(self, name: str, attributes: Mapping[str, Attribute]) -> Span:
        """Start a span of this call."""
        return self._tracer.start_span(name, self._context, attributes=dict(attributes))

    def triton_call(
        self,
        model_name: str,
        below: Span | None = None,
        attributes: Mapping[str, Attribute] = MappingProxyType({}),
    ) -> TritonCall:
        """Time a call to Triton, which puts its own spans below this one.

        Args:
            model_name: Who is asked.
            below: The span that the call's own span lies below; by default the call's.
            attributes: Of the call's own span.
        """
        context = (
            self._context if below is None else trace.set_span_in_context(below, self._context)
        )
        return TritonCall(self._tracer, context, model_name, attributes)

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
        if code in _SERVER_FAULTS:
            self._span.set_attribute("error.type", name)
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


class TritonCall(AbstractContextManager[Mapping[str, str]]):
    """A client span that is there from the start: Triton's spans need its ID."""

    def __init__(
        self,
        tracer: Tracer,
        context: Context,
        model_name: str,
        attributes: Mapping[str, Attribute],
    ) -> None:
        self._context = context
        self.span = tracer.start_span(
            TRITON_METHOD,
            context,
            kind=SpanKind.CLIENT,
            attributes={
                "rpc.system.name": "grpc",
                "rpc.method": TRITON_METHOD,
                "trident.model": model_name,
                **attributes,
            },
        )

    def __enter__(self) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        PROPAGATOR.inject(headers, trace.set_span_in_context(self.span, self._context))
        return headers

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        end_rpc_client_span(self.span, exc)


def end_rpc_client_span(span: Span, error: BaseException | None) -> None:
    """End the span of a call that this process made, with its outcome.

    Args:
        span: The client span.
        error: What the call raised, if anything; a ``grpc.RpcError`` says its status code.
    """
    if error is None:
        span.set_attribute("rpc.response.status_code", "OK")
    else:
        code = getattr(error, "code", None)
        status = getattr(code() if callable(code) else None, "name", None)
        if status is not None:
            span.set_attribute("rpc.response.status_code", status)
        span.set_attribute("error.type", status or type(error).__qualname__)
        details = getattr(error, "details", None)
        span.set_status(Status(StatusCode.ERROR, details() if callable(details) else str(error)))
    span.end()


def peer_attributes(peer: str) -> dict[str, str | int]:
    """Return the client's address and port from gRPC's ``ipv4:127.0.0.1:4711``."""
    scheme, _, rest = peer.partition(":")
    if scheme not in ("ipv4", "ipv6"):
        return {"client.address": peer} if peer else {}
    address, _, port = unquote(rest).rpartition(":")
    attributes: dict[str, str | int] = {"client.address": address.strip("[]")}
    if port.isdigit():
        attributes["client.port"] = int(port)
    return attributes
