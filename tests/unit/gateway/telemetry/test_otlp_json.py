from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, Status, StatusCode
from span_makers import span

from gateway.telemetry.otlp_json import json_to_spans, request_to_json, spans_to_json

RICH = span(
    "call",
    0xA1,
    0xA0,
    kind=SpanKind.CLIENT,
    attributes={"text": "ü", "flag": True, "count": 3, "share": 0.5, "many": ("a", "b")},
    events={"COMPUTE_START": 17},
    status=Status(StatusCode.ERROR, "said why"),
)
ROOT = span("root", 0xA0, kind=SpanKind.SERVER)
OTHER = span("other", 0xB0, service="triton")


def test_our_encoding_says_what_the_protobuf_encoding_says() -> None:
    for one in (RICH, ROOT, OTHER):
        theirs = request_to_json(encode_spans([one]))
        (encoded,) = theirs["resourceSpans"][0]["scopeSpans"][0]["spans"]
        encoded.pop("flags")  # whether the parent is remote, which we do not write
        if not encoded["status"]:
            encoded.pop("status")
        assert spans_to_json([one]) == theirs


def test_each_resource_has_an_entry() -> None:
    content = spans_to_json([RICH, OTHER])
    services = [
        part["resource"]["attributes"][0]["value"]["stringValue"]
        for part in content["resourceSpans"]
    ]
    assert services == ["trident-gateway", "triton"]


def fields(one: ReadableSpan) -> tuple[Any, ...]:
    attributes = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in (one.attributes or {}).items()
    }
    return (
        one.name, one.context.trace_id, one.context.span_id, one.parent and one.parent.span_id,
        one.kind, attributes, [(e.name, e.timestamp) for e in one.events],
        one.status.status_code, one.status.description, one.start_time, one.end_time,
        one.resource.attributes["service.name"],
    )  # fmt: skip


def test_what_is_written_is_read_again() -> None:
    read = json_to_spans(spans_to_json([RICH, ROOT, OTHER]))
    assert [fields(one) for one in read] == [fields(one) for one in (RICH, ROOT, OTHER)]


def test_ids_are_hex_and_enums_are_numbers() -> None:
    (one,) = spans_to_json([RICH])["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert one["traceId"] == "0" * 30 + "f0"
    assert one["spanId"] == "00000000000000a1"
    assert one["parentSpanId"] == "00000000000000a0"
    assert one["kind"] == 3
    assert one["status"] == {"code": 2, "message": "said why"}


def test_spans_of_one_resource_share_its_entry() -> None:
    (first,) = json_to_spans(spans_to_json([RICH]))
    content = spans_to_json([first, first])
    (part,) = content["resourceSpans"]
    (scope,) = part["scopeSpans"]
    assert len(scope["spans"]) == 2


def minimal(**changes: Any) -> dict[str, Any]:
    one = {
        "traceId": "ab" * 16, "spanId": "cd" * 8, "name": "x",
        "startTimeUnixNano": "1", "endTimeUnixNano": "2",
    } | changes  # fmt: skip
    return {"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}


def test_a_resource_without_a_name_gets_the_default() -> None:
    (one,) = json_to_spans(minimal(), "triton")
    assert one.resource.attributes["service.name"] == "triton"


def test_unknown_fields_and_numbers_for_times_are_taken() -> None:
    (one,) = json_to_spans(minimal(startTimeUnixNano=5, flags=257, somethingNew={"a": 1}))
    assert one.start_time == 5


@pytest.mark.parametrize(
    "content",
    [
        [],
        "text",
        {"resourceSpans": 3},
        {"resourceSpans": [3]},
        {"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]},
        minimal(traceId="zz" * 16),
        minimal(traceId="ab"),
        minimal(spanId="0" * 16),
        minimal(traceId=5),
        minimal(startTimeUnixNano="soon"),
        minimal(attributes=[{"value": 1}]),
        minimal(status={"code": 9}),
    ],
)
def test_anything_else_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="not OTLP/JSON"):
        json_to_spans(content)
