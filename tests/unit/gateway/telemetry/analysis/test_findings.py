"""What a report says in words, of load that was made to be said so of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from synthetic_traces import Json, Planted, Step, call

from gateway.telemetry.analysis.finding import Finding
from gateway.telemetry.analysis.report import Report

ReportOf = Callable[..., Report]
COUNT = 60
FAST = Planted(
    client=0.05, decode=0.05, queue=0.0, admission=0.0, triton_network=0.1, triton_server=0.01,
    encode=0.02,
    steps=tuple(Step(name, 0.01, 0.01, 0.2, 0.01) for name in ("prepare", "score", "calibrate")),
)  # fmt: skip


def found(report: Report) -> dict[str, Finding]:
    (group,) = report.groups
    return {one.rule: one for one in group.findings}


def many(planted: Planted, every: float = 50) -> list[list[Json]]:
    return [call(planted, at=every * n) for n in range(COUNT)]


CASES = {
    "admission": (replace(FAST, admission=5), "let more calls in", "max_in_flight"),
    "step-queue": (FAST.with_step("score", queue=4), "step `score` queues 4.00 ms",
                   "triton_instances"),
    "step-compute": (FAST.with_step("score", infer=9), "step `score` computes 9.00 ms",
                     "triton.gpu.count"),
    "copies": (FAST.with_step("score", output=2), "handing tensors", "fused"),
    "between-steps": (FAST.with_step("score", other=2), "between the steps", "fused"),
    "network": (replace(FAST, triton_network=6), "the gateway and Triton", "nearer"),
    "retries": (replace(FAST, retry=6), "went to Tritons that gave no answer", "hedging"),
    "gateway": (replace(FAST, decode=6), "the gateway's own work", ""),
}  # fmt: skip


@pytest.mark.parametrize("rule", CASES)
def test_what_takes_the_time_is_found_first_with_the_setting_to_change(
    rule: str, report_of: ReportOf
) -> None:
    planted, text, setting = CASES[rule]
    (group,) = report_of(*many(planted)).groups
    first = group.findings[0]
    assert first.rule == rule, [one.text for one in group.findings]
    assert text in first.text
    assert setting in first.setting


def test_calls_without_any_delay_have_no_finding_of_waiting(report_of: ReportOf) -> None:
    rules = found(report_of(*many(FAST))).keys()
    assert not rules & {"admission", "step-queue", "batch-wait", "gateway", "network", "tail"}


def test_a_full_triton_is_told_from_a_narrow_admission(report_of: ReportOf) -> None:
    planted = replace(FAST.with_step("score", queue=4), admission=5)
    finding = found(report_of(*many(planted)))["admission"]
    assert "Triton is full" in finding.text
    assert "max_in_flight" not in finding.setting


def tail_of(planted: Planted, slow: int) -> list[list[Json]]:
    lines = [call(FAST, at=50 * n) for n in range(1000 - slow)]
    return lines + [call(planted, at=50 * (1000 + n)) for n in range(slow)]


def test_a_tail_with_a_cause_of_its_own_is_found_with_the_mean_of_the_slowest(
    report_of: ReportOf,
) -> None:
    finding = found(report_of(*tail_of(replace(FAST, encode=30), 10)))["tail"]
    assert finding.stage == "encode"
    assert finding.value == pytest.approx(30, abs=0.1)
    assert finding.text.startswith("the slowest 1 % take 30.9 ms in the mean, 30.0 ms more than")
    assert finding.setting == ""  # one call at a time is no work for more workers


def test_a_stage_that_grew_by_more_than_the_call_is_all_of_it(report_of: ReportOf) -> None:
    slow = replace(FAST.with_step("score", infer=0.0), encode=2)
    text = found(report_of(*tail_of(slow, 10)))["tail"].text
    assert "; all of that is `encode`" in text


def test_what_the_slowest_calls_took_is_not_called_p99(report_of: ReportOf) -> None:
    findings = found(report_of(*tail_of(replace(FAST, client=30), 10)))
    text = findings["network"].text
    assert text.startswith("97 % of the slowest 1 % (30.0 ms of 30.9 ms in the mean) passes")
    assert not [one.text for one in findings.values() if "p99" in one.text]


def test_one_slow_call_is_no_tail(report_of: ReportOf) -> None:
    assert not found(report_of(*many(FAST), call(replace(FAST, client=30), at=9000)))


@pytest.mark.parametrize(
    ("planted", "rule"),
    [(replace(FAST, client=6), "network"), (replace(FAST, decode=6), "gateway")],
)
def test_workers_are_advised_only_where_the_gateway_had_much_to_do(
    planted: Planted, rule: str, report_of: ReportOf
) -> None:
    idle = found(report_of(*many(planted)))[rule]
    assert (idle.setting, "1.0 traced calls at a time" in idle.text) == ("", True)
    # Of calls that are under way at the same time, each has its client's time to itself.
    long = planted.with_step("score", infer=2)
    busy = found(report_of(*many(long, every=0.2)))[rule]
    assert busy.setting == "workers (gateway): more, if its cores are not all busy"


def test_a_release_that_is_fused_is_not_told_to_be(report_of: ReportOf) -> None:
    step = Step("fused", input=3, infer=9, output=3, other=4)
    fused = replace(FAST, steps=(step,), attributes={"trident.variant": "fused"})
    findings = found(report_of(*many(fused)))
    assert {"step-compute", "copies"} <= findings.keys()
    assert findings["step-compute"].setting == "triton.gpu.count (chart)"
    assert not [one for one in findings.values() if "variant" in one.setting]
    assert not [one for one in findings.values() if "fused model" in one.text]


ERRORS = {
    "INTERNAL": ({"trident.step": "score"}, "25 % of the calls failed (20× INTERNAL; 20× in step "
                 "`score`)", ""),
    "UNAVAILABLE": ({}, "Triton did not answer", "triton (gateway): ones that answer"),
    "DEADLINE_EXCEEDED": ({}, "the clients' deadlines", "triton_instances"),
    "RESOURCE_EXHAUSTED": ({}, "over a limit", "max_waiting (gateway)"),
    "INVALID_ARGUMENT": ({}, "(20× INVALID_ARGUMENT)", ""),
}  # fmt: skip


@pytest.mark.parametrize("code", ERRORS)
def test_errors_come_first_with_what_failed_and_what_may_help(
    code: str, report_of: ReportOf
) -> None:
    attributes, text, setting = ERRORS[code]
    bad = replace(FAST, code=code, attributes=attributes)
    (group,) = report_of(*many(FAST), *[call(bad) for _ in range(20)]).groups
    first = group.findings[0]
    assert first.rule == "errors"
    assert text in first.text
    assert setting in first.setting
    assert bool(setting) == bool(first.setting)


def test_calls_that_reached_no_release_say_so(report_of: ReportOf) -> None:
    bad = replace(FAST, code="UNAVAILABLE", line="", release="", has_triton=False)
    lines = [[one for one in call(bad) if one["kind"] == 2] for _ in range(5)]
    for (server,) in lines:
        server["attributes"] = [
            one for one in server["attributes"] if one["key"] not in ("trident.line",
                                                                      "trident.release")
        ]  # fmt: skip
    finding = found(report_of(*lines))["errors"]
    assert "(5× UNAVAILABLE before a release was chosen): no Triton had" in finding.text
    assert finding.setting.startswith("triton (gateway): ones that answer")


@pytest.mark.parametrize(("slower", "rule"), [(1, "growing"), (-1, "warming")])
def test_latency_that_changes_over_time_is_found(
    slower: int, rule: str, report_of: ReportOf
) -> None:
    lines = [
        call(replace(FAST, decode=0.1 + 0.1 * (n if slower > 0 else COUNT - n)), at=20 * n)
        for n in range(COUNT)
    ]
    assert rule in found(report_of(*lines))


def test_latency_that_grows_with_the_load_is_not_tritons_fault(report_of: ReportOf) -> None:
    at, lines = 0.0, []
    for n in range(COUNT):
        at += 20 if n < 20 else 4
        lines.append(call(replace(FAST, decode=0.1 + 0.1 * n), at=at))
    finding = found(report_of(*lines))["growing"]
    assert "and so does the load" in finding.text
    assert "calls a second came in the first third" in finding.text
    assert finding.setting == ""


def test_latency_that_grows_under_the_same_load_asks_for_tritons(report_of: ReportOf) -> None:
    lines = [call(replace(FAST, decode=0.1 + 0.1 * n), at=20 * n) for n in range(COUNT)]
    finding = found(report_of(*lines))["growing"]
    assert "under the same load" in finding.text
    assert finding.setting == "triton (gateway): more of them; triton.replicas (chart)"


def test_latency_that_falls_with_the_load_is_no_warming_up(report_of: ReportOf) -> None:
    at, lines = 0.0, []
    for n in range(COUNT):
        at += 4 if n < 40 else 20
        lines.append(call(replace(FAST, decode=0.1 + 0.1 * (COUNT - n)), at=at))
    assert "so does the load" in found(report_of(*lines))["warming"].text


def test_of_few_calls_nothing_is_concluded(report_of: ReportOf) -> None:
    findings = found(report_of(*[call(replace(FAST, admission=9)) for _ in range(29)]))
    assert list(findings) == ["too-few-calls"]
    finding = findings["too-few-calls"]
    assert finding.text.endswith("send more calls, or trace more of them")
    assert finding.setting == "trace_sample_ratio (gateway): raise it, if it is below 1"


def test_calls_without_tritons_spans_are_pointed_out(report_of: ReportOf) -> None:
    lines = many(FAST) + [call(replace(FAST, has_triton=False)) for _ in range(20)]
    assert found(report_of(*lines))["unseen"].text.startswith("25 % of the calls have no span")
