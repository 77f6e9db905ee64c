"""Triton's spans say what failed, where the gateway that asked has told of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from span_makers import CLIENT_SPAN_ID, TRACE_ID, TRACEPARENT, span

from gateway.telemetry.failed_requests import FailedRequest, FailedRequests, mark_failed
from gateway.telemetry.otlp_json import spans_to_json
from gateway.telemetry.span import Span, Status
from gateway.telemetry.trace_context import Parent, read_parent, write_traceparent
from gateway.telemetry.triton_spans import TritonSpans

ROOT, ENSEMBLE, PREPARE, SCORE, PREPARED, SCORED = range(0xA0, 0xA6)
SAID = "in ensemble 'letters', model 'letters__prepare': no"
ASKED = Parent(TRACE_ID, CLIENT_SPAN_ID, True)


def failed(step: str = "prepare", traceparent: str = TRACEPARENT) -> FailedRequest:
    return FailedRequest(traceparent, "INTERNAL", SAID, step)


def model(name: str, span_id: int, parent_id: int, end_ns: int, step: str = "") -> Span:
    attributes: dict[str, Any] = {"triton.model_name": name, "triton.request_id": TRACEPARENT}
    if step:
        attributes["trident.step"] = step
    return span(step or name, span_id, parent_id, times=(1_000, end_ns), attributes=attributes)


def ensemble() -> list[Span]:
    """Repaired spans of a request whose second step ended last."""
    return [
        span("compute", PREPARED, PREPARE, attributes={"trident.step": "prepare"}),
        model("letters__prepare", PREPARE, ENSEMBLE, 4_000, "prepare"),
        span("compute", SCORED, SCORE, attributes={"trident.step": "score"}),
        model("letters__score", SCORE, ENSEMBLE, 7_000, "score"),
        model("letters", ENSEMBLE, ROOT, 8_000),
        span("InferRequest", ROOT, CLIENT_SPAN_ID, times=(500, 9_000)),
    ]


def marked(spans: list[Span]) -> dict[str, tuple[Status, str, Any]]:
    """What is said of those that are not as they were."""
    return {
        one.name: (one.status, one.message, one.attributes.get("error.type"))
        for one in spans
        if one.status is not Status.UNSET or one.message or "error.type" in one.attributes
    }


WRONG = (Status.ERROR, SAID, "INTERNAL")


def test_the_step_that_failed_has_the_error_and_all_above_it() -> None:
    spans = ensemble()
    mark_failed(spans, failed())
    assert marked(spans) == dict.fromkeys(["prepare", "letters", "InferRequest"], WRONG)


def test_the_exception_is_on_the_step_alone() -> None:
    spans = ensemble()
    mark_failed(spans, failed())
    ((name, event),) = [(one.name, event) for one in spans for event in one.events]
    assert (name, event.name, event.time_ns) == ("prepare", "exception", 4_000)
    assert event.attributes == {"exception.type": "INTERNAL", "exception.message": SAID}


@pytest.mark.parametrize("step", ["", "another"], ids=["not named", "named, but not there"])
def test_without_its_name_it_is_the_step_that_ended_last(step: str) -> None:
    spans = ensemble()
    mark_failed(spans, failed(step))
    assert marked(spans) == dict.fromkeys(["score", "letters", "InferRequest"], WRONG)


def test_where_all_steps_are_one_model_that_has_the_error() -> None:
    spans = [
        model("letters__fused", PREPARE, ROOT, 4_000, "fused"),
        span("InferRequest", ROOT, CLIENT_SPAN_ID),
    ]
    mark_failed(spans, failed())
    assert marked(spans) == dict.fromkeys(["fused", "InferRequest"], WRONG)


def test_where_no_model_was_reached_the_request_has_the_error() -> None:
    spans = [span("InferRequest", ROOT, CLIENT_SPAN_ID)]
    mark_failed(spans, failed())
    assert marked(spans) == {"InferRequest": WRONG}
    assert [one.name for one in spans[0].events] == ["exception"]


def test_spans_that_lie_in_a_circle_are_marked_once() -> None:
    spans = [model("letters", 1, 2, 8_000), model("numbers", 2, 1, 9_000)]
    mark_failed(spans, failed())
    assert not marked(spans)  # neither is the lowest, and there is no request


def test_nothing_is_marked_where_there_are_no_spans() -> None:
    mark_failed([], failed())


def test_what_is_known_is_given_once() -> None:
    known = FailedRequests()
    known.add(failed())
    assert known.take(Parent(TRACE_ID, CLIENT_SPAN_ID + 1, True)) is None
    assert known.take(ASKED) == failed()
    assert known.take(ASKED) is None


def test_what_was_not_asked_for_is_forgotten_the_oldest_first() -> None:
    known = FailedRequests(most=2)
    for number in (1, 2, 3):
        known.add(failed(traceparent=write_traceparent(TRACE_ID, number)))
    found = [known.take(Parent(TRACE_ID, number, True)) is not None for number in (1, 2, 3)]
    assert found == [False, True, True]


def test_what_names_no_span_is_nothing() -> None:
    known = FailedRequests()
    known.add(failed(traceparent="number 7"))
    assert read_parent("number 7") is None
    assert known.take(ASKED) is None


def test_a_text_of_any_length_can_be_told() -> None:
    request = FailedRequest(TRACEPARENT, "INTERNAL", "x" * 1_000_000, "prepare")
    short = request.shortened()
    assert len(short.text) == 4_000
    assert short.step == "prepare"


def as_sent() -> Any:
    """As Triton sends them: it knows nothing of steps, and gives no status."""
    spans = [
        model("letters", ENSEMBLE, ROOT, 8_000),
        span("InferRequest", ROOT, CLIENT_SPAN_ID),
    ]
    return json.loads(spans_to_json(spans))


@pytest.mark.parametrize("is_known", [True, False], ids=["failed", "answered"])
def test_what_is_passed_on_says_what_failed(is_known: bool) -> None:
    known, passed = FailedRequests(), []
    if is_known:
        known.add(failed(""))
    TritonSpans(passed.extend, failure_of=known.take)(as_sent())
    wrong = [one.name for one in passed if one.status is Status.ERROR]
    assert len(passed) == 2
    assert wrong == (["letters", "InferRequest"] if is_known else [])
