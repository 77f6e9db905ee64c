from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, Status, StatusCode
from span_makers import span
from synthetic_traces import Planted, Step, call, request

from gateway.telemetry.otlp_json import json_to_spans
from gateway.telemetry.triton_repair import FailedCalls, Failure, repair_request
from gateway.telemetry.triton_spans import TritonSpans

METHOD = "inference.GRPCInferenceService/ModelInfer"
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


def test_a_failed_call_marks_the_step_that_it_stopped_at_and_what_is_above_it() -> None:
    spans = repair_request(as_sent(), Failure("INTERNAL", "in ensemble 'x', no"))
    failed = {one.name for one in spans if one.status.status_code is StatusCode.ERROR}
    assert failed == {"InferRequest", "score-risk__a1", "score"}
    assert all(attributes(one)["error.type"] == "INTERNAL" for one in spans if one.name in failed)
    assert by_name(spans)["score"].status.description == "in ensemble 'x', no"


def test_a_request_that_reached_no_model_fails_alone() -> None:
    root = [one for one in as_sent() if one.name == "InferRequest"]
    (made,) = repair_request(root, Failure("UNAVAILABLE", ""))
    assert made.status.status_code is StatusCode.ERROR


def client(code: str, span_id: int = 0xA) -> ReadableSpan:
    status = Status(StatusCode.ERROR, "no") if code != "OK" else Status()
    return span(METHOD, span_id, kind=SpanKind.CLIENT, status=status,
                attributes={"rpc.method": METHOD, "error.type": code})  # fmt: skip


@pytest.mark.parametrize("code", ["OK", "INTERNAL"])
def test_the_gateways_own_span_says_how_tritons_call_ended(code: str) -> None:
    failed_calls, passed = FailedCalls(), []
    spans = TritonSpans(lambda some: passed.extend(some), failed_calls=failed_calls)
    sent = as_sent()
    (parent,) = {one.parent.span_id for one in sent if one.name == "InferRequest" and one.parent}
    failed_calls.on_end(client(code, parent))
    spans(sent)
    assert len(passed) == len(sent)
    failed = [one for one in passed if one.status.status_code is StatusCode.ERROR]
    assert len(failed) == (0 if code == "OK" else 3)


def test_failures_are_forgotten_once_taken_and_never_pile_up() -> None:
    failed_calls = FailedCalls()
    for number in range(1, 5000):
        failed_calls.on_end(client("INTERNAL", number))
    assert failed_calls.take(1) is None
    assert failed_calls.take(4999) == Failure("INTERNAL", "no")
    assert failed_calls.take(4999) is None


def test_spans_that_are_no_call_to_triton_are_not_remembered() -> None:
    failed_calls = FailedCalls()
    failed_calls.on_end(span("decode", 1, status=Status(StatusCode.ERROR)))
    assert failed_calls.take(1) is None
