"""What a report says in words, of load that was made to be said so of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from synthetic_traces import Json, Planted, Step, batch, call

from gateway.telemetry.analysis.findings import Finding
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


def many(planted: Planted) -> list[list[Json]]:
    return [call(planted, at=50 * n) for n in range(COUNT)]


def test_a_window_that_is_longer_than_it_pays_is_found_with_its_numbers(
    report_of: ReportOf,
) -> None:
    lines = [batch(replace(FAST, has_client=False), 1, window=6, at=50 * n) for n in range(COUNT)]
    lines += [batch(FAST, 2, window=6, at=5000 + 50 * n) for n in range(COUNT // 4)]
    findings = found(report_of(*lines))
    assert "batching-pays" not in findings  # which would say the opposite
    finding = findings["batch-wait"]
    assert "% of p99" in finding.text
    assert "at mean batch 1.2: the batch window is longer than it pays" in finding.text
    assert finding.stage == "queue"
    assert finding.setting == "max_batch_wait_s (gateway)"
    assert finding.value > 0.8


def test_large_batches_behind_a_slow_model_are_not_the_windows_fault(report_of: ReportOf) -> None:
    lines = []
    for n in range(COUNT):
        rows = 4 + n % 5
        planted = FAST.with_step("score", infer=40 + 0.01 * rows)
        lines.append(batch(replace(planted, queue=20), rows, window=5, at=300 * n))
    finding = found(report_of(*lines))["batch-wait"]
    assert "for the model, not for the window" in finding.text
    assert "triton_instances" in finding.setting


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
    "gateway": (replace(FAST, decode=6), "the gateway's own work", "workers"),
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


def test_a_tail_with_a_cause_of_its_own_is_found(report_of: ReportOf) -> None:
    lines = [*many(FAST), call(replace(FAST, encode=30), at=9000)]
    finding = found(report_of(*lines))["tail"]
    assert finding.stage == "encode"
    assert finding.value == pytest.approx(30, abs=0.1)


def test_errors_come_first_with_what_failed(report_of: ReportOf) -> None:
    bad = replace(FAST, code="INTERNAL", attributes={"trident.step": "score"})
    (group,) = report_of(*many(FAST), *[call(bad) for _ in range(20)]).groups
    first = group.findings[0]
    assert first.rule == "errors"
    assert first.text == "25 % of the calls failed (20× INTERNAL; 20× in step `score`)"


@pytest.mark.parametrize(("slower", "rule"), [(1, "growing"), (-1, "warming")])
def test_latency_that_changes_over_time_is_found(
    slower: int, rule: str, report_of: ReportOf
) -> None:
    lines = [
        call(replace(FAST, decode=0.1 + 0.1 * (n if slower > 0 else COUNT - n)), at=20 * n)
        for n in range(COUNT)
    ]
    assert rule in found(report_of(*lines))


def test_of_few_calls_nothing_is_concluded(report_of: ReportOf) -> None:
    findings = found(report_of(*[call(replace(FAST, admission=9)) for _ in range(29)]))
    assert list(findings) == ["too-few-calls"]


def test_calls_without_tritons_spans_are_pointed_out(report_of: ReportOf) -> None:
    lines = many(FAST) + [call(replace(FAST, has_triton=False)) for _ in range(20)]
    assert found(report_of(*lines))["unseen"].text.startswith("25 % of the calls have no span")
