"""Spans made by hand, and what is in a file of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, TraceFlags

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
TRACE_ID = 0xF0
CLIENT_SPAN_ID = 0xC1
TRACEPARENT = f"00-{TRACE_ID:032x}-{CLIENT_SPAN_ID:016x}-01"
UNSAMPLED = f"00-{TRACE_ID:032x}-{CLIENT_SPAN_ID:016x}-00"


def span(
    name: str,
    span_id: int,
    parent_id: int | None = None,
    *,
    trace_id: int = TRACE_ID,
    service: str = "trident-gateway",
    kind: SpanKind = SpanKind.INTERNAL,
    times: tuple[int, int] = (1_000_000, 2_000_000),
    attributes: Mapping[str, Any] | None = None,
    events: Mapping[str, int] | None = None,
    status: Status | None = None,
) -> ReadableSpan:
    """A finished span; times in ns."""
    parent = SpanContext(trace_id, parent_id, True, SAMPLED) if parent_id else None
    return ReadableSpan(
        name=name,
        context=SpanContext(trace_id, span_id, False, SAMPLED),
        parent=parent,
        resource=Resource({"service.name": service}),
        attributes=attributes or {},
        events=[Event(event, {}, at) for event, at in (events or {}).items()],
        kind=kind,
        status=status or Status(),
        start_time=times[0],
        end_time=times[1],
        instrumentation_scope=InstrumentationScope("made by hand", "1"),
    )


def spans_in(path: Path) -> list[dict[str, Any]]:
    """Every span of a file, as OTLP/JSON; fails on a line that is none."""
    return [
        one
        for line in path.read_text().splitlines()
        for part in json.loads(line)["resourceSpans"]
        for scope in part["scopeSpans"]
        for one in scope["spans"]
    ]


def names(spans: Sequence[ReadableSpan]) -> list[str]:
    """What spans are called."""
    return [one.name for one in spans]
