"""Which requests Triton has failed: its spans do not say so, but the gateway that asked knows.

Triton gives no span a status. Where another process takes its spans than the one that asked, that
one is told: of few requests, and mostly before Triton sends their spans, which it gathers first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gateway.telemetry.span import Attributes, Event, Span, Status
from gateway.telemetry.span_rules import MODEL, ROOT
from gateway.telemetry.trace_context import Parent, read_parent

_MOST = 4096
_MOST_TEXT = 4000
"""Characters of what Triton says that are told: a datagram has room for them."""


@dataclass(frozen=True)
class FailedRequest:
    """A request that Triton answered with an error."""

    traceparent: str
    """That it was sent with."""
    status: str
    """gRPC's name of the status, such as ``INTERNAL``."""
    text: str
    """What Triton said."""
    step: str = ""
    """At which it failed, if that was said."""

    def shortened(self) -> FailedRequest:
        """Return it as it can be told."""
        return replace(self, text=self.text[:_MOST_TEXT])


TellFailed = Callable[[FailedRequest], None]


class FailedRequests:
    """What is known of requests that failed; may be told and asked on any thread.

    Args:
        most: How many are remembered; the oldest is forgotten.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, int], FailedRequest] = OrderedDict()

    def add(self, request: FailedRequest) -> None:
        """Take note of one."""
        parent = read_parent(request.traceparent)
        if parent is None:
            return
        with self._lock:
            self._known[parent.trace_id, parent.span_id] = request
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def take(self, parent: Parent) -> FailedRequest | None:
        """Return, and forget, what is known of the request that was sent by this span."""
        with self._lock:
            return self._known.pop((parent.trace_id, parent.span_id), None)


def mark_failed(spans: Sequence[Span], request: FailedRequest) -> None:
    """Give the spans of a request that failed their status, in place.

    The step that failed gets it with the exception, and with it all that lies above it, up to
    ``InferRequest``. Where no step is named, or none of them is (all are in one model), the lowest
    of the models gets it that ended last: an ensemble stops at the step that fails.

    Args:
        spans: Of one request, repaired.
        request: What is known of it.
    """
    by_id = {span.span_id: span for span in spans}
    failed = _failed(spans, request.step)
    above: Span | None = failed
    while above is not None and above.status is not Status.ERROR:
        above.status, above.message = Status.ERROR, request.text
        above.attributes["error.type"] = request.status
        above = by_id.get(above.parent_id)
    if failed is not None:
        said: Attributes = {"exception.type": request.status, "exception.message": request.text}
        failed.events = [*failed.events, Event("exception", failed.end_ns, said)]


def _failed(spans: Sequence[Span], step: str) -> Span | None:
    """Return the span of the step, or what comes closest to it."""
    models = [span for span in spans if MODEL in span.attributes and span.name != ROOT]
    named = [span for span in models if step and span.attributes.get("trident.step") == step]
    outer = {span.parent_id for span in models}
    lowest = named or [span for span in models if span.span_id not in outer]
    if lowest:
        return max(lowest, key=lambda span: span.end_ns)
    return next((span for span in spans if span.name == ROOT), None)
