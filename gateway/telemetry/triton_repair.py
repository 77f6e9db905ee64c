"""Makes the spans of one request to Triton readable: by rule, and by what they say together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from gateway.telemetry.span_rules import METHOD, MODEL, ROOT, SCOPE, Draft, micros, repair

_MOST_FAILURES = 4096


@dataclass(frozen=True)
class Failure:
    """How a call to Triton failed."""

    error_type: str
    message: str


class FailedCalls(SpanProcessor):
    """Remembers which of the gateway's calls to Triton failed: Triton's spans do not say."""

    def __init__(self) -> None:
        self._failures: OrderedDict[int, Failure] = OrderedDict()

    def on_end(self, span: ReadableSpan) -> None:
        """Look at a span that has ended."""
        attributes = span.attributes or {}
        if (
            span.kind is SpanKind.CLIENT
            and span.status.status_code is StatusCode.ERROR
            and attributes.get("rpc.method") == METHOD
        ):
            kind = str(attributes.get("error.type", "_OTHER"))
            self._failures[span.context.span_id] = Failure(kind, span.status.description or "")
            while len(self._failures) > _MOST_FAILURES:
                self._failures.popitem(last=False)

    def take(self, span_id: int) -> Failure | None:
        """Return how the call with this span failed, if it did; once."""
        return self._failures.pop(span_id, None)


def repair_request(
    spans: Sequence[ReadableSpan], failure: Failure | None = None
) -> list[ReadableSpan]:
    """Return the spans of one request, readable.

    Beside the rules: a step says how long it queued, its compute which step it is of; and if the
    call failed, the request, the ensemble and the step that it stopped at have its status.

    Args:
        spans: Of one request, as Triton sent them; those of others are left as they are.
        failure: How the call failed, if it did.
    """
    ours = [span for span in spans if _scope(span) == SCOPE]
    drafts = {span.context.span_id: _draft(span) for span in ours}
    for draft in drafts.values():
        repair(draft)
    _tell_of_each_other(ours, drafts)
    failed = _failed(ours, drafts) if failure is not None else frozenset()
    return [
        _repaired(span, drafts[span.context.span_id],
                  failure if span.context.span_id in failed else None)
        if span.context.span_id in drafts else span
        for span in spans
    ]  # fmt: skip


def _tell_of_each_other(spans: Iterable[ReadableSpan], drafts: dict[int, Draft]) -> None:
    for span in spans:
        own = drafts[span.context.span_id]
        above = drafts.get(span.parent.span_id) if span.parent else None
        started = own.events.get("COMPUTE_START")
        if above is None or started is None or MODEL in own.attributes:
            continue
        if "trident.step" in above.attributes:
            own.attributes["trident.step"] = above.attributes["trident.step"]
        queued = above.events.get("QUEUE_START")
        if queued is not None:
            above.attributes["trident.queue_us"] = micros(queued, started)


def _failed(spans: Sequence[ReadableSpan], drafts: dict[int, Draft]) -> frozenset[int]:
    """Return what failed: the model that ended last of those with none below, and all above it.

    An ensemble stops at the step that fails, so that is the one that ended last.
    """
    by_id = {span.context.span_id: span for span in spans}
    models = {key for key, draft in drafts.items() if MODEL in draft.attributes}
    parents = [by_id[key].parent for key in models]
    steps = [by_id[key] for key in models - {one.span_id for one in parents if one is not None}]
    if not steps:
        return frozenset(key for key, draft in drafts.items() if draft.name == ROOT)
    failed: set[int] = set()
    span: ReadableSpan | None = max(steps, key=lambda one: one.end_time or 0)
    while span is not None and span.context.span_id not in failed:
        failed.add(span.context.span_id)
        span = by_id.get(span.parent.span_id) if span.parent else None
    return frozenset(failed)


def _scope(span: ReadableSpan) -> str:
    scope = span.instrumentation_scope
    return scope.name if scope is not None else ""


def _draft(span: ReadableSpan) -> Draft:
    events = {event.name: event.timestamp for event in span.events}
    return Draft(span.name, span.kind, dict(span.attributes or {}), events)


def _repaired(span: ReadableSpan, draft: Draft, failure: Failure | None) -> ReadableSpan:
    status = span.status
    if failure is not None:
        draft.attributes["error.type"] = failure.error_type
        status = Status(StatusCode.ERROR, failure.message or None)
    return ReadableSpan(
        name=draft.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=draft.attributes,
        events=span.events,
        links=span.links,
        kind=draft.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
