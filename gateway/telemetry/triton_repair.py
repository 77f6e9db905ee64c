"""Makes the spans of one request to Triton readable: by rule, and by what they say together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opentelemetry.sdk.trace import ReadableSpan

from gateway.telemetry.span_rules import MODEL, SCOPE, Draft, micros, repair


def repair_request(spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    """Return the spans of one request, readable.

    Beside the rules: a step says how long it queued, its compute which step it is of.

    Args:
        spans: Of one request, as Triton sent them; those of others are left as they are.
    """
    ours = [span for span in spans if _scope(span) == SCOPE]
    drafts = {span.context.span_id: _draft(span) for span in ours}
    for draft in drafts.values():
        repair(draft)
    _tell_of_each_other(ours, drafts)
    return [
        _repaired(span, drafts[span.context.span_id]) if span.context.span_id in drafts else span
        for span in spans
    ]


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


def _scope(span: ReadableSpan) -> str:
    scope = span.instrumentation_scope
    return scope.name if scope is not None else ""


def _draft(span: ReadableSpan) -> Draft:
    events = {event.name: event.timestamp for event in span.events}
    return Draft(span.name, span.kind, dict(span.attributes or {}), events)


def _repaired(span: ReadableSpan, draft: Draft) -> ReadableSpan:
    return ReadableSpan(
        name=draft.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=draft.attributes,
        events=span.events,
        links=span.links,
        kind=draft.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
