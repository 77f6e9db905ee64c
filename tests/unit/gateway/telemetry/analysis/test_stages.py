"""Where the time of a call went, when it is known because a test put it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from synthetic_traces import Planted, Step, batch, call, new_trace, span

from gateway.telemetry.analysis.calls import Calls

CallsOf = Callable[..., Calls]
_US = 0.002
"""Times are written in whole ns; stages are cut at them."""


def stages(calls: Calls, row: int = 0) -> dict[str, float]:
    return {stage.key: calls.ms[row, place] for place, stage in enumerate(calls.stages)}


DELAYS = {
    "client": (lambda p: replace(p, client=p.client + 10), "client"),
    "decode": (lambda p: replace(p, decode=p.decode + 10), "decode"),
    "queue": (lambda p: replace(p, queue=p.queue + 10), "queue"),
    "admission": (lambda p: replace(p, admission=p.admission + 10), "admission"),
    "network": (lambda p: replace(p, triton_network=p.triton_network + 10), "triton_network"),
    "front-end": (lambda p: replace(p, triton_server=p.triton_server + 10), "triton_server"),
    "step-queue": (lambda p: p.with_step("score", queue=10.05), "step.score.queue"),
    "step-input": (lambda p: p.with_step("score", input=10.02), "step.score.input"),
    "step-infer": (lambda p: p.with_step("score", infer=10.8), "step.score.infer"),
    "step-output": (lambda p: p.with_step("score", output=10.03), "step.score.output"),
    "step-other": (lambda p: p.with_step("score", other=10.0), "step.score.other"),
    "encode": (lambda p: replace(p, encode=p.encode + 10), "encode"),
}


@pytest.mark.parametrize(("delayed", "stage"), DELAYS.values(), ids=DELAYS)
def test_a_delay_of_10_ms_is_found_in_its_stage_and_nowhere_else(
    delayed: Callable[[Planted], Planted], stage: str, calls_of: CallsOf
) -> None:
    calls = calls_of(call(Planted()), call(delayed(Planted()), at=1000))
    before, after = stages(calls, 0), stages(calls, 1)
    more = {key: after[key] - before[key] for key in after}
    assert more.pop(stage) == pytest.approx(10, abs=_US)
    assert all(abs(value) < _US for value in more.values()), more


def test_stages_have_the_times_that_were_planted(calls_of: CallsOf) -> None:
    planted = Planted(steps=(Step("prepare", queue=0.5, infer=2), Step("score", output=0.25)))
    found = stages(calls_of(call(planted)))
    expected = {
        "client": 0.2, "decode": 0.3, "queue": 0.05, "admission": 0.02, "triton_network": 0.3,
        "triton_server": 0.05,
        "encode": 0.1, "step.prepare.queue": 0.5, "step.prepare.input": 0.02,
        "step.prepare.infer": 2, "step.prepare.output": 0.03, "step.score.queue": 0.05,
        "step.score.input": 0.02, "step.score.infer": 0.4, "step.score.output": 0.25,
    }  # fmt: skip
    assert found == pytest.approx(expected, abs=_US)


def test_stages_add_up_to_what_the_client_measured_to_the_nanosecond(calls_of: CallsOf) -> None:
    lines = [call(Planted(decode=0.1 * n), at=50 * n) for n in range(20)]
    lines += [batch(Planted(), 4, window=3, at=2000)]
    calls = calls_of(*lines)
    assert len(calls) == 24
    assert np.abs(calls.ms.sum(axis=1) - calls.total_ms).max() < 1e-6


def test_stages_are_in_the_order_in_which_they_happen(calls_of: CallsOf) -> None:
    keys = [stage.key for stage in calls_of(call(Planted())).stages]
    assert keys[:3] == ["client", "decode", "queue"]
    assert keys[-1] == "encode"
    steps = [key.split(".")[1] for key in keys if key.endswith(".infer")]
    assert steps == ["prepare", "score", "calibrate"]


def test_steps_that_overlap_are_not_counted_twice(calls_of: CallsOf) -> None:
    trace = new_trace()
    server = call(Planted(has_triton=False))
    infer = next(one for one in server if one["kind"] == 3 and one["service"] == "trident-gateway")
    trace = infer["traceId"]
    begin = 0.1 + 0.37
    ensemble = span(trace, "l__r", begin, begin + 2.2, infer["spanId"], service="triton",
                    attributes={"triton.model_name": "l__r"})  # fmt: skip
    first, second = (
        span(trace, f"l__r__{name}", begin + low, begin + high, ensemble["spanId"],
             service="triton", attributes={"triton.model_name": f"l__r__{name}"})
        for name, low, high in (("a", 0.0, 1.5), ("b", 1.0, 2.2))
    )  # fmt: skip
    calls = calls_of([*server, ensemble, first, second])
    found = stages(calls)
    assert found["step.a.other"] == pytest.approx(1.0, abs=_US)  # until the next began
    assert found["step.b.other"] == pytest.approx(1.2, abs=_US)
    assert calls.ms.sum() == pytest.approx(calls.total_ms[0], abs=1e-6)


def test_of_steps_side_by_side_only_the_one_that_is_waited_for_counts(calls_of: CallsOf) -> None:
    spans = call(Planted(has_triton=False))
    infer = next(one for one in spans if one["kind"] == 3 and one["service"] == "trident-gateway")
    trace, begin = infer["traceId"], 0.1 + 0.37
    ensemble = span(trace, "l__r", begin, begin + 2, infer["spanId"], service="triton",
                    attributes={"triton.model_name": "l__r"})  # fmt: skip
    steps = [
        span(trace, f"l__r__{name}", begin, begin + end, ensemble["spanId"], service="triton",
             attributes={"triton.model_name": f"l__r__{name}"})
        for name, end in (("short", 0.7), ("long", 2.0))
    ]  # fmt: skip
    found = stages(calls_of([*spans, ensemble, *steps]))
    assert found["step.long.other"] == pytest.approx(2, abs=_US)
    assert "step.short.other" not in found


@pytest.mark.parametrize("own_trace", [False, True], ids=["trace-of-the-first", "own-trace"])
def test_every_call_of_a_batch_waits_for_it_and_has_its_steps(
    own_trace: bool, calls_of: CallsOf
) -> None:
    planted = Planted(has_client=False).with_step("score", infer=5)
    calls = calls_of(batch(planted, 4, window=8, own_trace=own_trace))
    assert np.abs(calls.ms.sum(axis=1) - calls.total_ms).max() < 1e-6
    assert len(calls) == 4
    for row, waited in enumerate((8.05, 6.05, 4.05, 2.05)):
        found = stages(calls, row)
        assert found["queue"] == pytest.approx(waited, abs=_US)
        assert found["step.score.infer"] == pytest.approx(5, abs=_US)
    assert calls.rows.tolist() == calls.mates.tolist() == [4] * 4


@pytest.mark.parametrize("lost", ["batch", "infer"], ids=["of-the-calls", "of-the-batch"])
def test_either_link_is_enough_to_find_the_batch(lost: str, calls_of: CallsOf) -> None:
    spans = batch(Planted(), 3, window=2)
    for one in spans:
        if one["name"] == "batch" if lost == "batch" else one["kind"] == 3:
            one.pop("links", None)
    calls = calls_of(spans)
    assert calls.mates.tolist() == [3] * 3
    assert stages(calls)["step.score.infer"] == pytest.approx(0.8, abs=_US)
    assert np.abs(calls.ms.sum(axis=1) - calls.total_ms).max() < 1e-6


def test_a_call_that_gave_up_on_its_batch_has_as_much_less_of_every_stage(
    calls_of: CallsOf,
) -> None:
    spans = batch(Planted(), 1, window=1, own_trace=True)
    server = next(one for one in spans if one["kind"] == 2 and one["service"] != "triton")
    waits = next(one for one in spans if one["name"] == "batch")
    half = (int(waits["startTimeUnixNano"]) + int(waits["endTimeUnixNano"])) // 2
    waits["endTimeUnixNano"] = server["endTimeUnixNano"] = str(half)
    calls = calls_of([one for one in spans if one["name"] != "encode"])
    found = stages(calls)
    assert found["step.score.infer"] == pytest.approx(0.4, rel=0.01)
    assert calls.ms.sum() == pytest.approx(calls.total_ms[0], abs=1e-6)


def test_without_tritons_spans_the_time_there_is_one_stage(calls_of: CallsOf) -> None:
    planted = Planted(has_triton=False)
    found = stages(calls_of(call(planted)))
    expected = planted.triton_network + planted.triton_server + planted.triton_ms
    assert found["triton"] == pytest.approx(expected, abs=_US)
    assert "triton_network" not in found


def test_without_the_clients_span_a_call_is_measured_by_the_gateways(calls_of: CallsOf) -> None:
    calls = calls_of(call(Planted(has_client=False)))
    assert "client" not in stages(calls)
    assert not calls.has_client[0]


def test_a_span_that_is_not_known_is_a_stage_of_its_own_name(calls_of: CallsOf) -> None:
    spans = call(Planted())
    server = next(one for one in spans if one["kind"] == 2 and one["service"] != "triton")
    encode = next(one for one in spans if one["name"] == "encode")
    encode["name"] = "look up"
    assert encode["parentSpanId"] == server["spanId"]
    assert stages(calls_of(spans))["other.look up"] == pytest.approx(0.1, abs=_US)


def test_a_step_that_says_how_long_it_queued_needs_no_event(calls_of: CallsOf) -> None:
    spans = call(Planted().with_step("score", queue=3.0))
    for one in spans:
        if one["name"].endswith("__score"):
            one["events"] = []
            one["attributes"].append({"key": "trident.queue_us", "value": {"intValue": "3000"}})
    assert stages(calls_of(spans))["step.score.queue"] == pytest.approx(3, abs=_US)


def test_a_gateway_span_that_names_the_failed_step_is_no_step(calls_of: CallsOf) -> None:
    planted = Planted(code="INTERNAL", attributes={"trident.step": "score"})
    calls = calls_of(call(planted))
    assert stages(calls)["step.score.infer"] == pytest.approx(0.8, abs=_US)
    assert calls.failed_step.tolist() == ["score"]


def test_a_step_may_have_a_dot_in_its_name(calls_of: CallsOf) -> None:
    calls = calls_of(call(Planted(steps=(Step("score.2"),))))
    assert {stage.step for stage in calls.stages} == {"", "score.2"}
