"""Spans as OTLP/JSON: numbers for enums, IDs in hex, times as decimal strings of ns.

The encoding is written out here because it runs for every sampled call, beside the calls that
are served: through protobuf messages it costs four times as much.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

Json = dict[str, Any]

_IDS = ("traceId", "spanId", "parentSpanId")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_KINDS = dict(enumerate(SpanKind, start=1))
_KIND_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_STATUS_CODES = {code.value: code for code in StatusCode}


def spans_to_json(spans: Sequence[ReadableSpan]) -> Json:
    """Return an ``ExportTraceServiceRequest`` with the spans, by resource and scope."""
    scopes: dict[tuple[int, int], Json] = {}
    resources: dict[int, Json] = {}
    for span in spans:
        key = id(span.resource), id(span.instrumentation_scope)
        if key not in scopes:
            resource = resources.setdefault(
                key[0],
                {
                    "resource": {"attributes": _attributes(span.resource.attributes)},
                    "scopeSpans": [],
                },
            )
            scopes[key] = {"scope": _scope(span.instrumentation_scope), "spans": []}
            resource["scopeSpans"].append(scopes[key])
        scopes[key]["spans"].append(_span(span))
    return {"resourceSpans": list(resources.values())}


def json_to_spans(content: Any, default_service: str = "unknown_service") -> list[ReadableSpan]:
    """Return the spans of an ``ExportTraceServiceRequest``; unknown fields are skipped.

    Args:
        content: Parsed OTLP/JSON.
        default_service: ``service.name`` of a resource that has none.

    Raises:
        ValueError: If it is not OTLP/JSON.
    """
    spans = []
    try:
        for part in content.get("resourceSpans", ()):
            attributes = _read_attributes(part.get("resource", {}))
            resource = Resource({"service.name": default_service} | attributes)
            for scope_part in part.get("scopeSpans", ()):
                scope = scope_part.get("scope", {})
                instrumentation = InstrumentationScope(
                    str(scope.get("name", "")), scope.get("version")
                )
                for span in scope_part.get("spans", ()):
                    spans.append(_read_span(span, resource, instrumentation))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not OTLP/JSON: {type(error).__name__}: {error}") from error
    return spans


def request_to_json(request: ExportTraceServiceRequest) -> Json:
    """Return an OTLP message as OTLP/JSON (protobuf's own JSON has IDs in base64)."""
    content: Json = MessageToDict(request, use_integers_for_enums=True)
    for carrier in _carriers_of_ids(content):
        for name in _IDS:
            if name in carrier:
                carrier[name] = base64.b64decode(carrier[name]).hex()
    return content


def _carriers_of_ids(content: Json) -> Iterator[Json]:
    for part in content.get("resourceSpans", ()):
        for scope_part in part.get("scopeSpans", ()):
            for span in scope_part.get("spans", ()):
                yield span
                yield from span.get("links", ())


def _scope(scope: InstrumentationScope | None) -> Json:
    if scope is None:
        return {}
    return {"name": scope.name} | ({"version": scope.version} if scope.version else {})


def _span(span: ReadableSpan) -> Json:
    content: Json = {
        **_ids(span.context),
        "name": span.name,
        "kind": _KIND_NUMBERS[span.kind],
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
    }
    if span.parent is not None:
        content["parentSpanId"] = f"{span.parent.span_id:016x}"
    if span.attributes:
        content["attributes"] = _attributes(span.attributes)
    if span.events:
        content["events"] = [_event(event) for event in span.events]
    if span.links:
        content["links"] = [_ids(link.context) for link in span.links]
    if span.status.status_code is not StatusCode.UNSET:
        content["status"] = {"code": span.status.status_code.value}
        if span.status.description:
            content["status"]["message"] = span.status.description
    return content


def _ids(context: SpanContext) -> Json:
    content = {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}
    if context.trace_state:
        content["traceState"] = context.trace_state.to_header()
    return content


def _event(event: Event) -> Json:
    content: Json = {"name": event.name, "timeUnixNano": str(event.timestamp)}
    if event.attributes:
        content["attributes"] = _attributes(event.attributes)
    return content


def _attributes(attributes: Mapping[str, Any]) -> list[Json]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> Json:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value)}


def _read_span(span: Json, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    trace_id = _read_id(span["traceId"], 16)
    context = SpanContext(trace_id, _read_id(span["spanId"], 8), False, _SAMPLED)
    parent = None
    if span.get("parentSpanId"):
        parent = SpanContext(trace_id, _read_id(span["parentSpanId"], 8), True, _SAMPLED)
    status = span.get("status", {})
    return ReadableSpan(
        name=str(span["name"]),
        context=context,
        parent=parent,
        resource=resource,
        attributes=_read_attributes(span),
        events=[
            Event(str(one["name"]), _read_attributes(one), int(one["timeUnixNano"]))
            for one in span.get("events", ())
        ],
        links=[_read_link(one) for one in span.get("links", ())],
        kind=_KINDS.get(int(span.get("kind", 1)), SpanKind.INTERNAL),
        status=Status(_STATUS_CODES[int(status.get("code", 0))], status.get("message")),
        start_time=int(span["startTimeUnixNano"]),
        end_time=int(span["endTimeUnixNano"]),
        instrumentation_scope=scope,
    )


def _read_link(link: Json) -> Link:
    ids = _read_id(link["traceId"], 16), _read_id(link["spanId"], 8)
    return Link(SpanContext(*ids, True, _SAMPLED), _read_attributes(link))


def _read_id(text: str, size: int) -> int:
    content = bytes.fromhex(text)
    if len(content) != size or not any(content):
        raise ValueError(f"an ID of {size} bytes in hex was expected, got {text!r}")
    return int.from_bytes(content, "big")


def _read_attributes(carrier: Json) -> dict[str, Any]:
    return {one["key"]: _read_value(one["value"]) for one in carrier.get("attributes", ())}


def _read_value(value: Json) -> Any:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "doubleValue":
            return float(content)
        if kind == "boolValue":
            return bool(content)
        if kind == "arrayValue":
            return [_read_value(one) for one in content.get("values", ())]
        return content if isinstance(content, str) else str(content)
    return ""
