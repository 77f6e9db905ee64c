"""What Jaeger's query service answers (``/api/traces``), as spans of OTLP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.telemetry.analysis.otlp_structs import Attribute, Event, Link, Span, Status, Value

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}


class Tag(msgspec.Struct, gc=False):
    """A key and its value."""

    key: str
    value: Any = None


class Reference(msgspec.Struct, gc=False):
    """Another span: the parent, or one that it is linked with."""

    refType: str
    traceID: str
    spanID: str


class Log(msgspec.Struct, gc=False):
    """What happened at a time, in µs."""

    timestamp: int
    fields: list[Tag] = []


class JaegerSpan(msgspec.Struct, gc=False):
    """One span; times in µs."""

    traceID: str
    spanID: str
    startTime: int
    duration: int
    operationName: str = ""
    processID: str = ""
    references: list[Reference] = []
    tags: list[Tag] = []
    logs: list[Log] = []


class Process(msgspec.Struct, gc=False):
    """What made spans."""

    serviceName: str = "unknown_service"


class Trace(msgspec.Struct, gc=False):
    """One trace."""

    spans: list[JaegerSpan] = []
    processes: dict[str, Process] = {}


class Answer(msgspec.Struct, gc=False):
    """The whole answer."""

    data: list[Trace]


def jaeger_spans(answer: Answer) -> Iterator[tuple[Span, str]]:
    """Give every span, and the service that made it."""
    unknown = Process()
    for trace in answer.data:
        for span in trace.spans:
            yield _span(span), trace.processes.get(span.processID, unknown).serviceName


def _span(span: JaegerSpan) -> Span:
    parent, links = "", []
    for one in span.references:
        same = one.traceID.zfill(32) == span.traceID.zfill(32)
        if one.refType == "CHILD_OF" and same and not parent:
            parent = one.spanID.zfill(16)
        else:
            links.append(Link(one.traceID.zfill(32), one.spanID.zfill(16)))
    tags = {tag.key: tag.value for tag in span.tags}
    failed = str(tags.get("otel.status_code", "")) == "ERROR" or tags.get("error") in (True, "true")
    return Span(
        traceId=span.traceID.zfill(32),
        spanId=span.spanID.zfill(16),
        startTimeUnixNano=1000 * span.startTime,
        endTimeUnixNano=1000 * (span.startTime + span.duration),
        name=span.operationName,
        parentSpanId=parent,
        kind=_KINDS.get(str(tags.get("span.kind", "internal")), 1),
        attributes=[Attribute(key, _value(value)) for key, value in tags.items()],
        events=[Event(1000 * log.timestamp, _event_name(log)) for log in span.logs],
        links=links,
        status=Status(2 if failed else 0),
    )


def _event_name(log: Log) -> str:
    named = {tag.key: tag.value for tag in log.fields}
    return str(named.get("event", named.get("name", "")))


def _value(value: Any) -> Value:
    if isinstance(value, bool):
        return Value(boolValue=value)
    return Value(doubleValue=value) if isinstance(value, int | float) else Value(str(value))
