"""What calls wait for before they leave: the batch window is to blame only where it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from synthetic_traces import Json, Planted, Step, batch, call

from gateway.settings import Settings
from gateway.telemetry.analysis.batching import LONGEST_WINDOW_MS
from gateway.telemetry.analysis.finding import Finding
from gateway.telemetry.analysis.levers import LONGER_WINDOW
from gateway.telemetry.analysis.report import Report

ReportOf = Callable[..., Report]
FAST = Planted(
    client=0.05, decode=0.05, queue=0.0, admission=0.0, triton_network=0.1, triton_server=0.01,
    encode=0.02, has_client=False,
    steps=tuple(Step(name, 0.01, 0.01, 0.2, 0.01) for name in ("prepare", "score", "calibrate")),
)  # fmt: skip
COUNT = 60


def found(report: Report) -> dict[str, Finding]:
    (group,) = report.groups
    return {one.rule: one for one in group.findings}


def waiting(window: float, count: int, at: float = 0) -> list[list[Json]]:
    """Calls that go alone and wait for nothing but time."""
    return [batch(FAST, 1, window=window, at=at + 50 * n) for n in range(count)]


def behind(ms: float, count: int, at: float = 0) -> list[list[Json]]:
    """Pairs of calls: the second waits for the first, which is at Triton for so long."""
    slow = FAST.with_step("score", infer=ms)
    pairs = [(call(slow, at=at + 200 * n), call(replace(FAST, queue=ms), at=at + 200 * n + 0.2))
             for n in range(count)]  # fmt: skip
    return [one for pair in pairs for one in pair]


def test_a_window_that_is_longer_than_it_pays_is_found_with_its_numbers(
    report_of: ReportOf,
) -> None:
    lines = waiting(2.5, COUNT)
    lines += [batch(FAST, 2, window=2.5, at=5000 + 50 * n) for n in range(COUNT // 4)]
    findings = found(report_of(*lines))
    assert "batching-pays" not in findings  # which would say the opposite
    finding = findings["batch-wait"]
    assert "% of the time" in finding.text
    assert "at mean batch 1.2: the batch window is longer than it pays" in finding.text
    assert finding.stage == "queue"
    assert finding.setting == "max_batch_wait_s (gateway): lower it"
    assert finding.value > 0.6


def test_a_window_in_which_nobody_comes_is_too_long(report_of: ReportOf) -> None:
    finding = found(report_of(*waiting(2.5, COUNT)))["batch-wait"]
    assert "the window takes 2.50 ms of a call, and hardly any call comes in it" in finding.text
    assert finding.setting == "max_batch_wait_s (gateway): lower it"


def test_large_batches_behind_a_slow_model_are_not_the_windows_fault(report_of: ReportOf) -> None:
    lines = []
    for n in range(COUNT):
        rows = 4 + n % 5
        planted = FAST.with_step("score", infer=40 + 0.01 * rows)
        lines.append(batch(replace(planted, queue=36), rows, window=5, at=42 * n))
    finding = found(report_of(*lines))["batch-wait"]
    assert "for the model, not for the window" in finding.text
    assert "triton_instances" in finding.setting


def test_a_call_behind_another_of_its_release_waits_for_that_though_it_goes_alone(
    report_of: ReportOf,
) -> None:
    finding = found(report_of(*behind(11, 40)))["batch-wait"]
    assert "of the wait is for batches before them" in finding.text
    # With so few calls at a time no second batch would leave beside the first.
    assert finding.setting == "variant: fused (gateway); triton.gpu.count (chart)"


def test_the_batches_of_another_release_hold_nobody_up(report_of: ReportOf) -> None:
    others = [call(replace(FAST.with_step("score", infer=9), release="b2"), at=50 * n)
              for n in range(COUNT)]  # fmt: skip
    first, _ = report_of(*waiting(2.5, COUNT), *others).groups
    assert first.summary.batching is not None
    assert first.summary.batching.behind_share == 0


def test_a_wait_that_is_longer_than_a_window_can_be_is_not_the_windows(
    report_of: ReportOf,
) -> None:
    finding = found(report_of(*waiting(11.1, COUNT)))["batch-wait"]
    assert "no one cause explains it" in finding.text
    assert finding.setting == ""


def test_no_window_of_0_is_found_too_long(report_of: ReportOf) -> None:
    finding = found(report_of(*waiting(0.3, COUNT)))["batch-wait"]  # the event loop was busy
    assert finding.setting == ""


@pytest.mark.parametrize("pairs", [9, 11])
def test_runs_that_hardly_differ_are_not_told_the_opposite(pairs: int, report_of: ReportOf) -> None:
    lines = waiting(2.5, 40) + behind(10, pairs, at=5000)
    finding = found(report_of(*lines))["batch-wait"]
    assert "no one cause explains it" in finding.text
    assert finding.setting == ""


@pytest.mark.parametrize(("every", "said"), [(3, True), (60, False)])
def test_larger_batches_are_asked_for_only_where_there_are_calls_to_fill_them(
    every: float, said: bool, report_of: ReportOf
) -> None:
    slow = replace(FAST, decode=20)
    lines = [batch(slow, 1 + (n % 4 == 0), window=0.1, at=every * n) for n in range(COUNT)]
    findings = found(report_of(*lines))
    assert ("batching-pays" in findings) == said
    if said:
        assert "larger batches cost little" in findings["batching-pays"].text
        assert findings["batching-pays"].setting == (
            "max_batch_wait_s (gateway): raise it, if it is below 0.003"
        )


def test_the_longest_window_is_the_gateways_default() -> None:
    default = Settings.model_fields["max_batch_wait_s"].default
    assert default * 1e3 == LONGEST_WINDOW_MS
    assert LONGER_WINDOW.endswith(f"below {default}")
