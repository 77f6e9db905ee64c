"""Spans made by hand, and what is in a file of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.telemetry.span import Event, Kind, Link, Source, Span, Status

TRACE_ID = 0xF0
CLIENT_SPAN_ID = 0xC1
TRACEPARENT = f"00-{TRACE_ID:032x}-{CLIENT_SPAN_ID:016x}-01"
UNSAMPLED = f"00-{TRACE_ID:032x}-{CLIENT_SPAN_ID:016x}-00"
_SOURCES: dict[str, Source] = {}


def source(service: str) -> Source:
    """Where the spans of a service are from: the same for all of them."""
    return _SOURCES.setdefault(service, Source({"service.name": service}, "made by hand", "1"))


def span(
    name: str,
    span_id: int,
    parent_id: int | None = None,
    *,
    trace_id: int = TRACE_ID,
    service: str = "trident-gateway",
    kind: Kind = Kind.INTERNAL,
    times: tuple[int, int] = (1_000_000, 2_000_000),
    attributes: Mapping[str, Any] | None = None,
    events: Mapping[str, int] | None = None,
    links: Sequence[tuple[int, int]] = (),
    status: Status = Status.UNSET,
    message: str = "",
    trace_state: str = "",
) -> Span:
    """A finished span; times in ns, links as trace and span IDs."""
    return Span(
        source=source(service),
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id or 0,
        name=name,
        kind=kind,
        start_ns=times[0],
        end_ns=times[1],
        attributes=dict(attributes or {}),
        events=[Event(event, at) for event, at in (events or {}).items()],
        links=[Link(*one) for one in links],
        status=status,
        message=message,
        trace_state=trace_state,
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


def names(spans: Sequence[Span]) -> list[str]:
    """What spans are called."""
    return [one.name for one in spans]
