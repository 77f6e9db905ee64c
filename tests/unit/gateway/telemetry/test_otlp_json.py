from __future__ import annotations

import json
from typing import Any

import pytest
from span_makers import span

from gateway.telemetry.otlp_json import json_to_spans, spans_to_json
from gateway.telemetry.span import Kind, Status

RICH = span(
    "call",
    0xA1,
    0xA0,
    kind=Kind.CLIENT,
    attributes={"text": "ü", "flag": True, "count": 3, "share": 0.5, "many": ["a", "b"]},
    events={"COMPUTE_START": 17},
    status=Status.ERROR,
    message="said why",
)
OTHER = span("other", 0xB0, service="triton")


def written(*spans: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(spans_to_json(spans))
    return content


def test_each_source_has_an_entry_of_its_own() -> None:
    content = written(RICH, OTHER, RICH)
    services = [
        part["resource"]["attributes"][0]["value"]["stringValue"]
        for part in content["resourceSpans"]
    ]
    assert services == ["trident-gateway", "triton"]
    assert [len(part["scopeSpans"][0]["spans"]) for part in content["resourceSpans"]] == [2, 1]


def test_a_request_is_one_line() -> None:
    assert b"\n" not in spans_to_json([span("two\nlines", 1, attributes={"a\r": "\n"})])


def test_ids_are_hex_enums_are_numbers_and_times_are_text() -> None:
    (one,) = written(RICH)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert one["traceId"] == "0" * 30 + "f0"
    assert one["spanId"] == "00000000000000a1"
    assert one["parentSpanId"] == "00000000000000a0"
    assert one["kind"] == 3
    assert one["status"] == {"code": 2, "message": "said why"}
    assert one["startTimeUnixNano"] == "1000000"
    assert {x["key"]: x["value"] for x in one["attributes"]}["count"] == {"intValue": "3"}


def test_a_root_has_no_parent_and_an_unset_status_is_left_out() -> None:
    (one,) = written(OTHER)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert not {"parentSpanId", "status", "events", "links", "traceState"} & one.keys()


def minimal(**changes: Any) -> dict[str, Any]:
    one = {
        "traceId": "ab" * 16, "spanId": "cd" * 8, "name": "x",
        "startTimeUnixNano": "1", "endTimeUnixNano": "2",
    } | changes  # fmt: skip
    return {"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}


def test_a_resource_without_a_name_gets_the_default() -> None:
    (one,) = json_to_spans(minimal(), "triton")
    assert one.source.resource["service.name"] == "triton"


def test_unknown_fields_and_numbers_for_times_are_taken() -> None:
    (one,) = json_to_spans(minimal(startTimeUnixNano=5, flags=257, somethingNew={"a": 1}))
    assert one.start_ns == 5


def test_a_kind_of_the_future_is_none_of_ours() -> None:
    (one,) = json_to_spans(minimal(kind=9))
    assert one.kind is Kind.UNSPECIFIED


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
