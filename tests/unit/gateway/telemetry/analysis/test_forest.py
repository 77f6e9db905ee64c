"""Trees of spans: clocks that do not agree, parents that are not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from synthetic_traces import Planted, call, new_trace, span

from gateway.telemetry.analysis.forest import TRITON_METHOD
from gateway.telemetry.analysis.report import build_report

Analysed = Callable[..., Any]


@pytest.mark.parametrize("skew", [-3600_000.0, -5.0, 5.0, 3600_000.0], ids="{:g} ms".format)
def test_stages_do_not_depend_on_what_tritons_clock_says(skew: float, analysed: Analysed) -> None:
    right = analysed(call(Planted()), name="right.jsonl").calls
    wrong = analysed(call(Planted(triton_skew=skew)), name="wrong.jsonl").calls
    assert [one.key for one in right.stages] == [one.key for one in wrong.stages]
    assert wrong.ms[0] == pytest.approx(right.ms[0], abs=0.002)


def test_a_clock_that_does_not_agree_is_named_with_what_it_is_ahead(analysed: Analysed) -> None:
    lines = [call(Planted(triton_skew=250), at=10 * n) for n in range(5)]
    (clock,) = build_report(analysed(*lines)).clocks
    assert (clock.service, clock.spans) == ("triton", 5 * 8)
    assert clock.ahead_ms == pytest.approx(250, abs=0.01)


def test_a_clock_that_agrees_is_not_named(analysed: Analysed) -> None:
    assert build_report(analysed(call(Planted()))).clocks == []


def test_one_call_that_its_server_ended_late_does_not_make_a_clock_wrong(
    analysed: Analysed,
) -> None:
    lines = [call(Planted(), at=10 * n) for n in range(5)]
    root = next(one for one in lines[0] if one["name"] == "InferRequest")
    root["endTimeUnixNano"] = str(int(root["endTimeUnixNano"]) + 2_000_000)
    traces = analysed(*lines)
    assert build_report(traces).clocks == []
    assert traces.calls.ms.sum(axis=1) == pytest.approx(traces.calls.total_ms, abs=1e-6)


@pytest.mark.parametrize("late_ms", [0.3, 2.0])
def test_a_server_that_notes_most_ends_late_does_not_make_a_clock_wrong(
    late_ms: float, analysed: Analysed
) -> None:
    """On a busy machine with one clock: some end later than others begin."""
    lines = [call(Planted(), at=10 * n) for n in range(20)]
    for number, line in enumerate(lines):
        asked = next(one for one in line if one["name"] == TRITON_METHOD)
        root = next(one for one in line if one["name"] == "InferRequest")
        late_ns = int(1e6 * late_ms * (number % 4)) or -1000
        root["endTimeUnixNano"] = str(int(asked["endTimeUnixNano"]) + late_ns)
    traces = analysed(*lines)
    assert build_report(traces).clocks == []
    assert traces.calls.ms.sum(axis=1) == pytest.approx(traces.calls.total_ms, abs=1e-6)


def test_a_child_longer_than_its_parent_is_cut_to_it(analysed: Analysed) -> None:
    spans = call(Planted())
    infer = next(one for one in spans if one["name"] == "InferRequest")
    infer["endTimeUnixNano"] = str(int(infer["endTimeUnixNano"]) + 10**12)
    calls = analysed(spans).calls
    assert calls.ms.sum() == pytest.approx(calls.total_ms[0], abs=1e-6)


def test_spans_without_their_parent_are_counted_and_do_no_harm(analysed: Analysed) -> None:
    spans = [one for one in call(Planted()) if one["name"] != "InferRequest"]
    traces = analysed(spans)
    assert traces.forest.orphans == 1  # the ensemble
    assert traces.calls.ms.sum() == pytest.approx(traces.calls.total_ms[0], abs=1e-6)


def test_spans_that_are_their_own_ancestors_are_left_out(analysed: Analysed) -> None:
    trace = new_trace()
    one, two = span(trace, "a", 0, 1), span(trace, "b", 0, 1)
    one["parentSpanId"], two["parentSpanId"] = two["spanId"], one["spanId"]
    traces = analysed([one, two, *call(Planted())])
    assert traces.forest.circles == 2
    assert len(traces.calls) == 1


def test_a_call_below_a_span_of_another_program_is_measured_by_its_client(
    analysed: Analysed,
) -> None:
    spans = call(Planted())
    client = spans[0]
    shop = span(client["traceId"], "checkout", -20, 60, service="shop", kind=2,
                attributes={"rpc.method": "shop.v1.Shop/Checkout"})  # fmt: skip
    client["parentSpanId"] = shop["spanId"]
    calls = analysed([shop, *spans]).calls
    assert [key.rpc for key in calls.keys] == ["RiskService/ScoreRisk"]
    assert calls.total_ms[0] == pytest.approx(Planted().total_ms, abs=0.001)


def test_a_client_that_tried_twice_gives_two_calls_each_measured_by_itself(
    analysed: Analysed,
) -> None:
    first, second = call(Planted()), call(Planted(), at=5)
    client = first[0]
    for one in second:
        one["traceId"] = client["traceId"]
        if one.get("parentSpanId") == second[0]["spanId"]:
            one["parentSpanId"] = client["spanId"]
    calls = analysed([*first, *second[1:]]).calls
    assert len(calls) == 2
    assert not calls.has_client.any()
