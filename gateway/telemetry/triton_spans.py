"""Puts Triton's spans in their place.

Triton (2.51) traces what it is told to, with two faults:

* over gRPC it overlooks some ``traceparent`` headers (it reads on behind the value), and the
  spans of such a call become a trace of their own;
* it cannot trace only what has a parent without overlooking those altogether, so it traces
  every call, also those that are not sampled.

The gateway therefore also sends the ``traceparent`` as the request's ID, which stands in the
spans of every model as ``triton.request_id``. The root of Triton's spans, ``InferRequest``,
ends last: until then a trace is held, then it is known whose it is.

What is passed on is readable, see :mod:`.triton_repair`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from gateway.telemetry.span_rules import ROOT as _ROOT
from gateway.telemetry.triton_repair import repair_request

_REQUEST_ID = "triton.request_id"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)

Sink = Callable[[Sequence[ReadableSpan]], object]


@dataclass
class _Trace:
    """One of Triton's traces."""

    held: list[ReadableSpan] = field(default_factory=list)
    owner: SpanContext | None = None
    """The caller's span, as the request's ID says."""
    root: ReadableSpan | None = None

    def add(self, span: ReadableSpan) -> None:
        self.held.append(span)
        if span.name == _ROOT:
            self.root = span
        if self.owner is None:
            self.owner = _owner(span)

    @property
    def wanted(self) -> bool:
        """Whether anyone asked for it: the gateway, or another client with a header of its own."""
        return self.owner is not None or (self.root is not None and self.root.parent is not None)

    def placed(self) -> list[ReadableSpan]:
        """Take the spans, in the trace of the caller."""
        spans, self.held = self.held, []
        owner = self.owner
        if owner is None:
            return spans
        return [
            span if _trace_id(span) == owner.trace_id else _moved(span, owner) for span in spans
        ]


class TritonSpans:
    """A sink for Triton's spans in front of another one.

    Args:
        sink: Gets the spans of one request at a time, those that belong to a sampled call.
        max_traces: Traces that are remembered; the oldest is let go.

    Attributes:
        moved_traces: Requests whose header Triton overlooked.
    """

    def __init__(self, sink: Sink, max_traces: int = 4096) -> None:
        self.moved_traces = 0
        self._sink = sink
        self._max_traces = max_traces
        self._traces: OrderedDict[int, _Trace] = OrderedDict()

    def __call__(self, spans: Sequence[ReadableSpan]) -> None:
        """Take spans as Triton sends them."""
        touched: dict[int, _Trace] = {}
        for span in spans:
            trace_id = _trace_id(span)
            trace = self._traces.setdefault(trace_id, _Trace())
            trace.add(span)
            touched[trace_id] = trace
        for trace_id, trace in touched.items():
            if trace.root is not None:
                self._let_go(trace_id, trace)
        while len(self._traces) > self._max_traces:
            self._let_go(*self._traces.popitem(last=False))

    def flush(self) -> None:
        """Pass on what is still held."""
        while self._traces:
            self._let_go(*self._traces.popitem(last=False))

    def _let_go(self, trace_id: int, trace: _Trace) -> None:
        wanted, owner = trace.wanted, trace.owner
        whole = trace.root in trace.held
        spans = trace.placed()
        if not wanted or not spans:
            return
        if owner is not None and owner.trace_id != trace_id and whole:
            self.moved_traces += 1
        self._sink(repair_request(spans))


def _owner(span: ReadableSpan) -> SpanContext | None:
    match = _TRACEPARENT.fullmatch(str((span.attributes or {}).get(_REQUEST_ID, "")))
    return SpanContext(int(match[1], 16), int(match[2], 16), True, _SAMPLED) if match else None


def _trace_id(span: ReadableSpan) -> int:
    trace_id: int = span.context.trace_id
    return trace_id


def _moved(span: ReadableSpan, owner: SpanContext) -> ReadableSpan:
    """Return a span of a stray trace as one of the owner's, its root below the owner."""
    context = SpanContext(owner.trace_id, span.context.span_id, False, _SAMPLED)
    parent = owner
    if span.parent is not None:
        parent = SpanContext(owner.trace_id, span.parent.span_id, True, _SAMPLED)
    return ReadableSpan(
        name=span.name,
        context=context,
        parent=parent,
        resource=span.resource,
        attributes=span.attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
