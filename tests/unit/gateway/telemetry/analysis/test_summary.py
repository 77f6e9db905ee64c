from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from synthetic_traces import Planted, Step, batch, call

from gateway.telemetry.analysis.report import Report
from gateway.telemetry.analysis.stages import Kind

ReportOf = Callable[..., Report]
PLAIN = Planted()


def test_each_rpc_and_release_is_a_group_of_its_own(report_of: ReportOf) -> None:
    other = replace(PLAIN, method="trident.diagnose.v1.DiagnoseService/Diagnose", line="diagnose")
    report = report_of(call(PLAIN), call(replace(PLAIN, release="b2")), call(other), call(other))
    found = [(g.summary.key.title, g.summary.calls) for g in report.groups]
    assert found == [
        ("DiagnoseService/Diagnose by diagnose/a1", 2),
        ("RiskService/ScoreRisk by score-risk/a1", 1),
        ("RiskService/ScoreRisk by score-risk/b2", 1),
    ]


def test_shares_add_up_to_one_and_percentiles_are_those_of_the_stage(report_of: ReportOf) -> None:
    lines = [call(replace(PLAIN, decode=0.01 * n), at=10 * n) for n in range(1, 101)]
    (group,) = report_of(*lines).groups
    summary = group.summary
    assert sum(stage.share for stage in summary.stages) == pytest.approx(1)
    assert sum(summary.kinds.values()) == pytest.approx(1)
    decode = summary.stage("decode")
    assert decode is not None
    assert decode.p50_ms == pytest.approx(0.505, abs=0.001)
    assert decode.p99_ms == pytest.approx(0.9901, abs=0.001)
    assert summary.latency.p50_ms == pytest.approx(PLAIN.total_ms - 0.3 + 0.505, abs=0.01)


def test_the_tail_is_the_slowest_hundredth_and_says_what_it_has_more_of(
    report_of: ReportOf,
) -> None:
    lines = [call(PLAIN, at=10 * n) for n in range(198)]
    lines += [call(PLAIN.with_step("score", queue=7.05), at=3000 + n) for n in (0, 20)]
    (group,) = report_of(*lines).groups
    summary = group.summary
    assert summary.latency.tail_calls == 2
    worst = max(summary.stages, key=lambda one: one.excess_ms)
    assert worst.key == "step.score.queue"
    assert worst.excess_ms == pytest.approx(7, abs=0.01)
    assert summary.sum(Kind.QUEUE, tail=True) > 0.6 > summary.sum(Kind.QUEUE)
    assert {one.stage for one in summary.slowest[:2]} == {"score: queue"}


def test_calls_that_failed_are_counted_by_what_went_wrong_and_not_timed(
    report_of: ReportOf,
) -> None:
    slow = replace(PLAIN, code="DEADLINE_EXCEEDED", decode=500)
    lines = [call(PLAIN), call(slow), call(slow), call(replace(PLAIN, code="INVALID_ARGUMENT"))]
    (group,) = report_of(*lines).groups
    assert group.summary.calls == 1
    assert group.summary.errors == {"DEADLINE_EXCEEDED": 2, "INVALID_ARGUMENT": 1}
    assert group.summary.latency.max_ms < 10


def test_a_group_where_every_call_failed_has_no_stage(report_of: ReportOf) -> None:
    (group,) = report_of(call(replace(PLAIN, code="INTERNAL"))).groups
    assert (group.summary.calls, list(group.summary.stages), group.examples) == (0, [], [])


@pytest.mark.parametrize("turn", [1, -1], ids=["written as they ran", "the other way round"])
def test_the_step_where_tritons_call_failed_is_named_from_where_the_ensemble_stopped(
    turn: int, report_of: ReportOf
) -> None:
    stopped = replace(PLAIN, code="INTERNAL", steps=(Step("prepare"), Step("score")))
    spans = call(stopped)
    infer = next(one for one in spans if one["kind"] == 3 and one["service"] == "trident-gateway")
    infer["status"] = {"code": 2}
    (group,) = report_of(spans[::turn]).groups
    assert group.summary.failed_steps == {"score": 1}


def test_a_call_that_failed_at_triton_says_so_also_in_the_batch_of_another(
    report_of: ReportOf,
) -> None:
    spans = batch(replace(PLAIN, code="UNAVAILABLE", has_triton=False), 3, window=1)
    infer = next(one for one in spans if one["kind"] == 3)
    infer["status"] = {"code": 2}
    shed = call(replace(PLAIN, code="RESOURCE_EXHAUSTED"))
    next(one for one in shed if one["name"] == "queue")["status"] = {"code": 2}
    (group,) = report_of(spans, shed).groups
    assert [(one.calls, one.code, one.place) for one in group.summary.failures] == [
        (3, "UNAVAILABLE", "asking Triton"), (1, "RESOURCE_EXHAUSTED", "in `queue`"),
    ]  # fmt: skip


def test_calls_at_a_time_are_counted_over_all_groups(report_of: ReportOf) -> None:
    long = replace(PLAIN, encode=10)
    other = replace(long, release="b2")
    report = report_of(*[call(long, at=100 * n) for n in range(4)],
                       *[call(other, at=100 * n + 5) for n in range(4)])  # fmt: skip
    assert [group.summary.at_a_time for group in report.groups] == [1, 2]


def test_a_step_is_as_busy_as_it_runs_and_has_the_instances_that_were_seen(
    report_of: ReportOf,
) -> None:
    slow = Planted(steps=(Step("score", queue=0, input=0, infer=10, output=0),))
    lines = [call(slow, at=20 * n) for n in range(10)] + [call(slow, at=5)]
    (group,) = report_of(*lines).groups
    (step,) = group.summary.steps
    assert (step.step, step.executions, step.at_a_time) == ("score", 11, 2)
    assert step.busy == pytest.approx(105 / 190, abs=0.01)
    assert step.requests_per_execution == 1


def test_requests_that_triton_puts_together_are_one_execution(report_of: ReportOf) -> None:
    (group,) = report_of(*[call(PLAIN, at=at) for at in (0, 0, 0, 100)]).groups
    assert {step.requests_per_execution for step in group.summary.steps} == {2.0}
    assert {step.at_a_time for step in group.summary.steps} == {1}


def test_the_models_time_by_rows_is_a_fixed_part_and_one_for_each_row(
    report_of: ReportOf,
) -> None:
    lines = []
    for rows in (1, 2, 4, 8):
        planted = Planted(steps=(Step("score", input=0, output=0, infer=1 + 0.25 * rows),))
        lines += [batch(planted, rows, window=1, at=100 * rows + n * 20) for n in range(3)]
    (group,) = report_of(*lines).groups
    effect = group.summary.batching
    assert effect is not None
    assert [(one.rows, one.calls) for one in effect.sizes] == [(1, 3), (2, 6), (4, 12), (8, 24)]
    assert effect.fixed_ms == pytest.approx(1, abs=0.01)
    assert effect.per_row_ms == pytest.approx(0.25, abs=0.005)
    assert effect.mean_calls == pytest.approx((1 + 2 + 4 + 8) / 4)
    assert effect.sizes[-1].compute_per_row_ms == pytest.approx(3 / 8, abs=0.01)


def test_a_wait_is_parted_into_what_was_for_others_batches_and_what_was_not(
    report_of: ReportOf,
) -> None:
    slow = PLAIN.with_step("score", infer=4)  # at Triton from 0.47 ms until 5.90 ms
    lines = [call(slow), call(replace(PLAIN, queue=6), at=2)]  # waits from 2.40 ms until 8.40 ms
    (group,) = report_of(*lines).groups
    effect = group.summary.batching
    assert effect is not None
    assert effect.behind_share == pytest.approx(3.5 / 6.05, abs=0.03)
    assert effect.window_share == pytest.approx(2.5 / 6.05, abs=0.03)
    assert effect.free_share == 0.5


def test_a_batch_rpc_says_its_rows_without_a_batcher(report_of: ReportOf) -> None:
    planted = replace(PLAIN, method="trident.risk.v1.RiskService/BatchScoreRisk",
                      attributes={"trident.batch.size": 64})  # fmt: skip
    (group,) = report_of(call(planted)).groups
    effect = group.summary.batching
    assert effect is not None
    assert (effect.mean_rows, effect.mean_calls) == (64, 1)


def test_a_call_that_travels_alone_is_a_batch_of_one(report_of: ReportOf) -> None:
    (group,) = report_of(call(PLAIN), call(PLAIN), batch(PLAIN, 2, window=1)).groups
    effect = group.summary.batching
    assert effect is not None
    assert [(one.rows, one.calls) for one in effect.sizes] == [(1, 2), (2, 2)]
    assert effect.mean_calls == pytest.approx(4 / 3)


def test_how_much_a_stream_brought_is_not_known(report_of: ReportOf) -> None:
    planted = replace(PLAIN, method="trident.risk.v1.RiskService/StreamScoreRisk")
    (group,) = report_of(call(planted)).groups
    assert group.summary.batching is None


def test_the_timeline_holds_every_call_once(report_of: ReportOf) -> None:
    lines = [call(replace(PLAIN, decode=0.1 + n % 7), at=13 * n) for n in range(300)]
    (group,) = report_of(*lines).groups
    line = group.summary.timeline
    assert line is not None
    assert sum(map(sum, line.counts)) == 300
    assert line.column_s * len(line.p50_ms) == pytest.approx(299 * 0.013, rel=0.01)
    assert all(low < high for low, high in zip(line.p50_ms, line.p99_ms, strict=True))


def test_one_single_span_is_a_report(report_of: ReportOf) -> None:
    server = next(one for one in call(Planted(has_client=False)) if one["kind"] == 2)
    (group,) = report_of([server]).groups
    assert [stage.key for stage in group.summary.stages] == ["gateway"]
    assert group.summary.stages[0].share == pytest.approx(1)


def test_the_examples_are_the_median_call_and_a_slow_one_with_its_batch(
    report_of: ReportOf,
) -> None:
    lines = [call(replace(PLAIN, decode=0.1 * n), at=100 * n) for n in range(1, 10)]
    lines.append(batch(replace(PLAIN, decode=50), 1, window=1, at=5000))
    (group,) = report_of(*lines).groups
    typical, slow = group.examples
    assert typical.what == "typical"
    assert typical.ms == pytest.approx(PLAIN.total_ms - 0.3 + 0.6, abs=0.01)
    names = [one.name for one in slow.spans]
    assert names[:5] == ["RiskService/ScoreRisk", "decode", "queue", "admission", "batch"]
    assert names[5:8] == ["ModelInfer", "InferRequest", "score-risk__a1"]
