from __future__ import annotations

import json
from typing import Any

import pytest
from span_makers import CLIENT_SPAN_ID, TRACE_ID, TRACEPARENT, names, span

from gateway.telemetry.otlp_json import spans_to_json
from gateway.telemetry.span import Span
from gateway.telemetry.triton_spans import TritonSpans

STRAY = 0x57A7
"""A trace that Triton began because it overlooked the header."""


def sent(spans: list[Span]) -> Any:
    """Spans as Triton sends them."""
    return json.loads(spans_to_json(spans))


def told(one: Span) -> dict[str, Any]:
    """All that a span says, but where it is from and where it lies."""
    return {
        name: getattr(one, name)
        for name in ("span_id", "name", "kind", "start_ns", "end_ns", "attributes", "events")
    } | {"service": one.source.resource["service.name"]}


class Taken(list[list[Span]]):
    """What a sink got, call by call."""

    def __call__(self, spans: Any) -> None:
        self.append(list(spans))


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.fixture
def sink(taken: Taken) -> TritonSpans:
    return TritonSpans(taken)


def request(
    trace_id: int, *, request_id: str = "", parent_id: int | None = None, first_id: int = 0xA0
) -> list[Span]:
    """What Triton sends for a request to a model, the root last."""
    attributes = {"triton.model_name": "letters", "triton.request_id": request_id}
    root, model, compute = first_id, first_id + 1, first_id + 2
    return [
        span("compute", compute, model, trace_id=trace_id, events={"COMPUTE_START": 17}),
        span("letters", model, root, trace_id=trace_id, attributes=attributes),
        span("InferRequest", root, parent_id, trace_id=trace_id),
    ]


def parents(spans: list[Span]) -> dict[str, int]:
    return {one.name: one.parent_id for one in spans}


def trace_ids(spans: list[Span]) -> set[int]:
    return {one.trace_id for one in spans}


def test_spans_that_are_in_the_callers_trace_pass_as_they_are(
    sink: TritonSpans, taken: Taken
) -> None:
    spans = request(TRACE_ID, request_id=TRACEPARENT, parent_id=CLIENT_SPAN_ID)
    sink(sent(spans))
    (passed,) = taken
    assert [told(one) for one in passed] == [told(one) for one in spans]
    assert parents(passed) == parents(spans)
    assert trace_ids(passed) == {TRACE_ID}
    assert sink.moved_traces == 0


def test_a_stray_trace_is_moved_below_the_span_that_its_request_id_names(
    sink: TritonSpans, taken: Taken
) -> None:
    sink(sent(request(STRAY, request_id=TRACEPARENT)))
    (moved,) = taken
    assert trace_ids(moved) == {TRACE_ID}
    assert parents(moved) == {
        "compute": 0xA1,
        "letters": 0xA0,
        "InferRequest": CLIENT_SPAN_ID,
    }
    assert sink.moved_traces == 1


def test_a_moved_span_keeps_all_but_its_place(sink: TritonSpans, taken: Taken) -> None:
    spans = request(STRAY, request_id=TRACEPARENT)
    sink(sent(spans))
    assert [told(one) for one in taken[0]] == [told(one) for one in spans]


def test_a_request_that_nobody_asked_to_trace_is_dropped(sink: TritonSpans, taken: Taken) -> None:
    sink(sent(request(STRAY)))
    sink.flush()
    assert taken == []


@pytest.mark.parametrize(
    "request_id",
    [
        "42",
        "00-xyz",
        "00-" + TRACEPARENT,
        "01" + TRACEPARENT[2:],
        TRACEPARENT + "0",
        TRACEPARENT.upper(),
        " " + TRACEPARENT,
    ],
)
def test_another_request_id_is_no_owner(request_id: str, sink: TritonSpans, taken: Taken) -> None:
    sink(sent(request(STRAY, request_id=request_id)))
    sink.flush()
    assert taken == []


def test_a_client_of_triton_with_a_header_of_its_own_is_traced(
    sink: TritonSpans, taken: Taken
) -> None:
    sink(sent(request(STRAY, parent_id=0xD0)))
    (passed,) = taken
    assert trace_ids(passed) == {STRAY}
    assert parents(passed)["InferRequest"] == 0xD0


def test_a_request_is_held_until_its_root_has_come(sink: TritonSpans, taken: Taken) -> None:
    compute, model, root = request(STRAY, request_id=TRACEPARENT)
    sink(sent([compute]))
    sink(sent([model]))
    assert taken == []
    sink(sent([root]))
    assert [names(passed) for passed in taken] == [["compute", "letters", "InferRequest"]]
    assert trace_ids(taken[0]) == {TRACE_ID}


def test_requests_that_come_together_are_not_mixed(sink: TritonSpans, taken: Taken) -> None:
    other = f"00-{0xBEEF:032x}-{0xB0:016x}-01"
    mixed = [
        one
        for pair in zip(
            request(STRAY, request_id=TRACEPARENT),
            request(STRAY + 1, request_id=other, first_id=0xE0),
            request(STRAY + 2, first_id=0xF0),
            strict=True,
        )
        for one in pair
    ]
    sink(sent(mixed))
    assert [trace_ids(passed) for passed in taken] == [{TRACE_ID}, {0xBEEF}]
    assert [parents(passed)["InferRequest"] for passed in taken] == [CLIENT_SPAN_ID, 0xB0]


def test_two_requests_of_one_trace_both_pass(sink: TritonSpans, taken: Taken) -> None:
    second = f"00-{TRACE_ID:032x}-{0xC2:016x}-01"
    sink(sent(request(TRACE_ID, request_id=TRACEPARENT, parent_id=CLIENT_SPAN_ID)))
    sink(sent(request(TRACE_ID, request_id=second, parent_id=0xC2, first_id=0xE0)))
    assert [parents(passed)["InferRequest"] for passed in taken] == [CLIENT_SPAN_ID, 0xC2]


def test_flush_passes_on_what_has_an_owner_but_no_root(sink: TritonSpans, taken: Taken) -> None:
    compute, model, _ = request(STRAY, request_id=TRACEPARENT)
    sink(sent([compute, model]))
    sink.flush()
    assert [names(passed) for passed in taken] == [["compute", "letters"]]
    assert trace_ids(taken[0]) == {TRACE_ID}


def test_a_span_after_the_root_finds_its_way_too(sink: TritonSpans, taken: Taken) -> None:
    compute, model, root = request(STRAY, request_id=TRACEPARENT)
    sink(sent([model, root]))
    sink(sent([compute]))
    assert [names(passed) for passed in taken] == [["letters", "InferRequest"], ["compute"]]
    assert trace_ids(taken[1]) == {TRACE_ID}
    assert sink.moved_traces == 1


def test_not_more_requests_are_remembered_than_allowed(taken: Taken) -> None:
    sink = TritonSpans(taken, max_traces=2)
    for number in range(3):
        compute, model, _ = request(STRAY + number, request_id=TRACEPARENT)
        sink(sent([compute, model]))
    # The oldest is let go, with what is known of it.
    assert [names(passed) for passed in taken] == [["compute", "letters"]]
    sink.flush()
    assert len(taken) == 3


@pytest.mark.parametrize(
    "content", [[], {"resourceSpans": 3}, {"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}]
)
def test_what_is_no_request_is_refused_and_the_next_is_taken(
    content: Any, sink: TritonSpans, taken: Taken
) -> None:
    with pytest.raises(ValueError, match="not OTLP/JSON"):
        sink(content)
    sink(sent(request(STRAY, request_id=TRACEPARENT)))
    assert len(taken) == 1


def test_what_nobody_wants_is_not_even_read(sink: TritonSpans, taken: Taken) -> None:
    content = sent(request(STRAY))
    for one in content["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        one["startTimeUnixNano"] = "no number"
    sink(content)
    assert taken == []
