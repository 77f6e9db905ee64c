"""Makes the spans of one request to Triton readable: by rule, and by what they say together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.telemetry.span import Span
from gateway.telemetry.span_rules import MODEL, SCOPE, Draft, micros, repair


def repair_request(spans: Sequence[Span]) -> None:
    """Make the spans of one request readable, in place.

    Beside the rules: a step says how long it queued, its compute which step it is of.

    Args:
        spans: Of one request, as Triton sent them; those of others are left as they are.
    """
    ours = [span for span in spans if span.source.scope == SCOPE]
    drafts = {span.span_id: _draft(span) for span in ours}
    for draft in drafts.values():
        repair(draft)
    _tell_of_each_other(ours, drafts)
    for span in ours:
        draft = drafts[span.span_id]
        span.name, span.kind, span.attributes = draft.name, draft.kind, draft.attributes


def _tell_of_each_other(spans: Iterable[Span], drafts: dict[int, Draft]) -> None:
    for span in spans:
        own = drafts[span.span_id]
        above = drafts.get(span.parent_id)
        started = own.events.get("COMPUTE_START")
        if above is None or started is None or MODEL in own.attributes:
            continue
        if "trident.step" in above.attributes:
            own.attributes["trident.step"] = above.attributes["trident.step"]
        queued = above.events.get("QUEUE_START")
        if queued is not None:
            above.attributes["trident.queue_us"] = micros(queued, started)


def _draft(span: Span) -> Draft:
    events = {event.name: event.time_ns for event in span.events}
    return Draft(span.name, span.kind, span.attributes, events)
