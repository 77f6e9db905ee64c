from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from span_makers import span
from synthetic_traces import Planted, Step, call, request

from gateway.telemetry.otlp_json import json_to_spans
from gateway.telemetry.triton_repair import repair_request
from gateway.telemetry.triton_spans import TritonSpans

PLANTED = Planted(steps=(Step("prepare", queue=0.75), Step("score", queue=2.5)))


def as_sent(planted: Planted = PLANTED) -> list[ReadableSpan]:
    """Triton's spans of one request, as the receiver reads them."""
    spans = [one for one in call(planted) if one["service"] == "triton"]
    content = request(spans)
    content["resourceSpans"][0]["scopeSpans"][0]["scope"] = {"name": "triton-server"}
    return json_to_spans(content)


def by_name(spans: list[ReadableSpan]) -> dict[str, ReadableSpan]:
    return {one.name: one for one in spans}


def attributes(one: ReadableSpan) -> dict[str, Any]:
    return dict(one.attributes or {})


def test_a_step_says_how_long_it_queued() -> None:
    spans = by_name(repair_request(as_sent()))
    queued = {name: attributes(spans[name])["trident.queue_us"] for name in ("prepare", "score")}
    assert queued == {"prepare": 750, "score": 2500}


def test_compute_says_which_step_it_is_of() -> None:
    spans = repair_request(as_sent())
    names = {one.context.span_id: one.name for one in spans}
    computes = [one for one in spans if one.name == "compute"]
    assert len(computes) == 2
    for one in computes:
        assert one.parent is not None
        assert attributes(one)["trident.step"] == names[one.parent.span_id]


def test_nothing_but_what_is_wrong_is_changed() -> None:
    sent = as_sent()
    for before, after in zip(sent, repair_request(sent), strict=True):
        assert after.context == before.context
        assert after.parent == before.parent
        assert after.events == before.events
        assert (after.start_time, after.end_time) == (before.start_time, before.end_time)
        assert after.status.status_code is StatusCode.UNSET
        assert attributes(before).items() <= attributes(after).items()


def test_spans_of_others_are_left_alone() -> None:
    other = span("compute", 7, kind=SpanKind.SERVER, events={"COMPUTE_START": 1})
    assert repair_request([other]) == [other]


def test_what_the_receiver_passes_on_is_readable() -> None:
    passed: list[ReadableSpan] = []
    TritonSpans(passed.extend)(as_sent())
    assert {"prepare", "score"} <= {one.name for one in passed}
    assert sum(one.kind is SpanKind.SERVER for one in passed) == 1
