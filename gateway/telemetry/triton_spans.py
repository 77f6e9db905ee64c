"""Puts Triton's spans in their place.

Triton (2.51) traces what it is told to, with two faults:

* over gRPC it overlooks some ``traceparent`` headers (it reads on behind the value), and the
  spans of such a call become a trace of their own;
* it cannot trace only what has a parent without overlooking those altogether, so where many
  calls are sampled it traces every one, also those that are not.

The gateway therefore also sends the ``traceparent`` as the request's ID, which stands in the
spans of every model as ``triton.request_id``. The root of Triton's spans, ``InferRequest``,
ends last: until then a trace is held, then it is known whose it is.

What is passed on is readable, see :mod:`.triton_repair`, and says what failed, as far as that is
known here (:mod:`.failed_requests`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from gateway.telemetry.failed_requests import FailedRequest, mark_failed
from gateway.telemetry.otlp_json import Json, raw_spans, read_span
from gateway.telemetry.span import Source, Span
from gateway.telemetry.span_rules import ROOT as _ROOT
from gateway.telemetry.trace_context import Parent, read_parent, write_traceparent
from gateway.telemetry.triton_repair import repair_request

_REQUEST_ID = "triton.request_id"

Sink = Callable[[Sequence[Span]], object]
FailureOf = Callable[[Parent], FailedRequest | None]


class _Trace:
    """One of Triton's traces. Its spans stay as they came until it is known that it is wanted."""

    __slots__ = ("has_parent", "held", "owner", "root")

    def __init__(self) -> None:
        self.held: list[tuple[Json, Source]] = []
        self.owner: Parent | None = None
        """The caller's span, as the request's ID says."""
        self.root: Json | None = None
        self.has_parent = False

    def add(self, span: Json, source: Source) -> None:
        self.held.append((span, source))
        if span.get("name") == _ROOT:
            self.root = span
            self.has_parent = bool(span.get("parentSpanId"))
        elif self.owner is None:
            self.owner = _owner(span)

    @property
    def is_wanted(self) -> bool:
        """Whether anyone asked for it: the gateway, or another client with a header of its own."""
        return self.owner is not None or self.has_parent

    @property
    def holds_root(self) -> bool:
        """Whether the root has not been passed on yet."""
        return any(span is self.root for span, _ in self.held)

    def placed(self) -> list[Span]:
        """Take the spans, in the trace of the caller."""
        held, self.held = self.held, []
        spans = [read_span(*one) for one in held]
        if self.owner is not None:
            for span in spans:
                _place(span, self.owner)
        return spans


class TritonSpans:
    """A sink for Triton's spans in front of another one.

    Args:
        sink: Gets the spans of one request at a time, those that belong to a sampled call.
        max_traces: Traces that are remembered; the oldest is let go.
        failure_of: Tells whether a request failed, given the span that sent it.

    Attributes:
        moved_traces: Requests whose header Triton overlooked.
    """

    def __init__(
        self, sink: Sink, max_traces: int = 4096, failure_of: FailureOf = lambda parent: None
    ) -> None:
        self.moved_traces = 0
        self._failure_of = failure_of
        self._sink = sink
        self._max_traces = max_traces
        self._traces: OrderedDict[str, _Trace] = OrderedDict()

    def __call__(self, content: Any) -> None:
        """Take an ``ExportTraceServiceRequest`` of Triton, as parsed OTLP/JSON.

        Raises:
            ValueError: If it is none.
        """
        touched: dict[str, _Trace] = {}
        try:
            for span, source in raw_spans(content, "triton"):
                trace_id = str(span["traceId"])
                trace = self._traces.get(trace_id)
                if trace is None:
                    trace = self._traces[trace_id] = _Trace()
                trace.add(span, source)
                touched[trace_id] = trace
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not OTLP/JSON: {type(error).__name__}: {error}") from error
        for trace_id, trace in touched.items():
            if trace.root is not None:
                self._let_go(trace_id, trace)
        while len(self._traces) > self._max_traces:
            self._let_go(*self._traces.popitem(last=False))

    def flush(self) -> None:
        """Pass on what is still held."""
        while self._traces:
            self._let_go(*self._traces.popitem(last=False))

    def _let_go(self, trace_id: str, trace: _Trace) -> None:
        if not trace.is_wanted or not trace.held:
            trace.held = []
            return
        whole = trace.holds_root
        spans = trace.placed()
        if whole and trace.owner is not None and f"{trace.owner.trace_id:032x}" != trace_id:
            self.moved_traces += 1
        repair_request(spans)
        if trace.owner is not None and (failed := self._failure_of(trace.owner)) is not None:
            mark_failed(spans, failed)
        self._sink(spans)


def _owner(span: Json) -> Parent | None:
    for attribute in span.get("attributes", ()):
        if attribute["key"] == _REQUEST_ID:
            request_id = attribute["value"].get("stringValue", "")
            parent = read_parent(request_id)
            # Other clients of Triton number their requests as they like.
            if parent and request_id == write_traceparent(parent.trace_id, parent.span_id):
                return parent
            return None
    return None


def _place(span: Span, owner: Parent) -> None:
    """Make a span of a stray trace one of the owner's, its root below the owner."""
    if span.trace_id != owner.trace_id:
        span.trace_id = owner.trace_id
        span.parent_id = span.parent_id or owner.span_id
