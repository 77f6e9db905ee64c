from __future__ import annotations

from copy import deepcopy
from typing import Any

from span_makers import span
from synthetic_traces import Planted, Step, call, request

from gateway.telemetry.otlp_json import json_to_spans
from gateway.telemetry.span import Kind, Span, Status
from gateway.telemetry.triton_repair import repair_request
from gateway.telemetry.triton_spans import TritonSpans

PLANTED = Planted(steps=(Step("prepare", queue=0.75), Step("score", queue=2.5)))


def request_of(planted: Planted = PLANTED) -> dict[str, Any]:
    """What Triton sends of one request."""
    content: dict[str, Any] = request([one for one in call(planted) if one["service"] == "triton"])
    content["resourceSpans"][0]["scopeSpans"][0]["scope"] = {"name": "triton-server"}
    return content


def as_sent() -> list[Span]:
    """Triton's spans of one request, as the receiver reads them."""
    return json_to_spans(request_of())


def repaired() -> list[Span]:
    spans = as_sent()
    repair_request(spans)
    return spans


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {one.name: one for one in spans}


def test_a_step_says_how_long_it_queued() -> None:
    spans = by_name(repaired())
    queued = {name: spans[name].attributes["trident.queue_us"] for name in ("prepare", "score")}
    assert queued == {"prepare": 750, "score": 2500}


def test_compute_says_which_step_it_is_of() -> None:
    spans = repaired()
    names = {one.span_id: one.name for one in spans}
    computes = [one for one in spans if one.name == "compute"]
    assert len(computes) == 2
    for one in computes:
        assert one.attributes["trident.step"] == names[one.parent_id]


def test_nothing_but_what_is_wrong_is_changed() -> None:
    spans = as_sent()
    sent = deepcopy(spans)
    repair_request(spans)
    for before, after in zip(sent, spans, strict=True):
        for kept in ("trace_id", "span_id", "parent_id", "events", "start_ns", "end_ns", "links"):
            assert getattr(after, kept) == getattr(before, kept), kept
        assert after.status is Status.UNSET
        assert before.attributes.items() <= after.attributes.items()


def test_spans_of_others_are_left_alone() -> None:
    other = span("compute", 7, kind=Kind.SERVER, events={"COMPUTE_START": 1})
    before = deepcopy((other.name, other.kind, other.attributes))
    repair_request([other])
    assert (other.name, other.kind, other.attributes) == before


def test_what_the_receiver_passes_on_is_readable() -> None:
    passed: list[Span] = []
    TritonSpans(passed.extend)(request_of())
    assert {"prepare", "score"} <= {one.name for one in passed}
    assert sum(one.kind is Kind.SERVER for one in passed) == 1
