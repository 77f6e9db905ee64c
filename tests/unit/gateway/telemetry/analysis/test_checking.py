from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_traces import Planted, Step, call

from gateway.telemetry.analysis.budget import Budget, InvalidBudget, read_budget
from gateway.telemetry.analysis.calls import Calls
from gateway.telemetry.analysis.checking import Check, Verdict, check

SLOW_QUEUE = Planted().with_step("score", queue=8.0)


@pytest.fixture
def held(calls_of: Callable[..., Calls]) -> Callable[..., list[Check]]:
    """Holds 100 calls against a budget."""

    def run(planted: Planted, **limits: object) -> list[Check]:
        calls = calls_of(*[call(planted, at=20 * n) for n in range(100)])
        return check(Budget.model_validate({"budgets": [limits]}), calls)

    return run


Held = Callable[..., list[Check]]


def test_what_is_within_its_budget_is_said_with_the_number(held: Held) -> None:
    (one,) = held(Planted(), p99_ms=25)
    assert one.verdict is Verdict.WITHIN
    assert one.actual == pytest.approx(Planted().total_ms, abs=0.01)
    assert "whole call p99_ms 2.92 ms ≤ 25.00 ms" in one.text


def test_what_breaks_its_budget_names_the_stages_to_blame(held: Held) -> None:
    (one,) = held(SLOW_QUEUE, p99_ms=5)
    assert one.verdict is Verdict.BROKEN
    assert one.blamed[0][0] == "score: queue"
    assert "most of it: score: queue 8.00 ms" in one.text


def test_waiting_may_be_limited_to_a_share_of_p99(held: Held) -> None:
    within, broken = (
        held(planted, stages={"queue": {"share_of_p99": 0.2}})[0]
        for planted in (Planted(), SLOW_QUEUE)
    )
    assert (within.verdict, broken.verdict) == (Verdict.WITHIN, Verdict.BROKEN)
    assert broken.actual == pytest.approx(8.17 / 10.87, abs=0.01)


@pytest.mark.parametrize("name", ["step.score.queue", "step.*.queue", "queue"])
def test_stages_are_named_one_by_one_by_pattern_or_by_kind(name: str, held: Held) -> None:
    (one,) = held(SLOW_QUEUE, stages={name: {"p50_ms": 8.5}})
    assert one.verdict is Verdict.WITHIN
    assert one.actual == pytest.approx(8, abs=0.2)


@pytest.mark.parametrize("measure", ["mean_ms", "p50_ms", "p95_ms", "p99_ms"])
def test_every_measure_of_a_call_can_be_limited(measure: str, held: Held) -> None:
    total = Planted().total_ms
    assert held(Planted(), **{measure: total + 0.01})[0].verdict is Verdict.WITHIN
    assert held(Planted(), **{measure: total - 0.01})[0].verdict is Verdict.BROKEN


def test_each_release_keeps_the_budget_for_itself(calls_of: Callable[..., Calls]) -> None:
    canary = replace(SLOW_QUEUE, release="b2")
    calls = calls_of(*[call(one, at=9 * n) for n in range(100) for one in (Planted(), canary)])
    budget = Budget.model_validate({"budgets": [{"rpc": "ScoreRisk", "p99_ms": 5}]})
    verdicts = {one.title: one.verdict for one in check(budget, calls)}
    assert verdicts == {
        "RiskService/ScoreRisk by score-risk/a1": Verdict.WITHIN,
        "RiskService/ScoreRisk by score-risk/b2": Verdict.BROKEN,
    }


def test_failed_calls_have_a_budget_of_their_own(calls_of: Callable[..., Calls]) -> None:
    bad = Planted(code="INTERNAL")
    calls = calls_of(*[call(bad if n < 3 else Planted(), at=n) for n in range(110)])
    budget = Budget.model_validate({"budgets": [{"error_share": 0.01}]})
    (one,) = check(budget, calls)
    assert one.verdict is Verdict.BROKEN
    assert one.actual == pytest.approx(3 / 110)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"p99_ms": 1}, "100 answered calls are too few to say, 101 are needed"),
        ({"rpc": "Recommend", "p99_ms": 1}, "no call matches"),
    ],
)
def test_where_nothing_can_be_said_that_is_the_verdict(
    limits: dict[str, object], text: str, calls_of: Callable[..., Calls]
) -> None:
    calls = calls_of(*[call(Planted(), at=n) for n in range(100)])
    budget = Budget.model_validate({"min_calls": 101, "budgets": [limits]})
    (one,) = check(budget, calls)
    assert (one.verdict, one.what) == (Verdict.UNKNOWN, text)


def test_an_optional_budget_is_well_without_a_call(held: Held) -> None:
    assert held(Planted(), rpc="Recommend", p99_ms=1, optional=True) == []


def test_a_budget_says_all_that_is_wrong_with_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "budget.yaml"
    path.write_text(
        "min_calls: 0\n"
        "budgets:\n"
        "- {rpc: ScoreRisk}\n"
        "- {p99_ms: -1, p999_ms: 3}\n"
        "- {stages: {queue: {share: 2}, decode: {}}}\n"
    )
    with pytest.raises(InvalidBudget) as caught:
        read_budget(path)
    assert set(caught.value.violations) == {
        "min_calls",
        "budgets.0",
        "budgets.1.p99_ms",
        "budgets.1.p999_ms",
        "budgets.2.stages.queue.share",
        "budgets.2.stages.decode",
    }
    assert "must set a limit" in caught.value.violations["budgets.0"]


@pytest.mark.parametrize("text", ["", "budgets: []", "[1, 2]", "a: [", "budgets: {rpc: x}"])
def test_a_file_that_is_no_budget_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "budget.yaml"
    path.write_text(text)
    with pytest.raises(InvalidBudget, match="is no budget"):
        read_budget(path)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("queu", "queue"),
        ("servce", "service"),
        ("step.scroe.queue", "step.score.queue"),
        ("step.scroe.*", "step.score.*"),
        ("step.*.queu", "step.*.queue"),
        ("other.nowhere", None),
    ],
)
def test_a_stage_that_there_is_not_is_never_within(
    name: str, meant: str | None, held: Held
) -> None:
    (one,) = held(Planted(), stages={name: {"p95_ms": 0.0001}})
    assert one.verdict is Verdict.UNKNOWN
    assert f"`{name}` is no stage of these calls; " in one.text
    assert meant is None or f"did you mean `{meant}`? There are client, gateway, " in one.text
    assert "kinds: service, queue, transport, overhead" in one.text
    assert "NAME one of prepare, score, calibrate and PART one of queue, input" in one.text


def test_every_stage_that_there_is_not_is_named_beside_what_is_broken(held: Held) -> None:
    names = ("queu", "queue", "encod")
    checks = held(SLOW_QUEUE, stages={name: {"p95_ms": 1} for name in names})
    assert [one.verdict for one in checks] == [Verdict.UNKNOWN, Verdict.BROKEN, Verdict.UNKNOWN]


@pytest.mark.parametrize(
    "name", ["retry", "admission", "step.score.other", "step.*.other", "other.*", "triton*"]
)
def test_a_known_stage_that_did_not_occur_took_no_time(name: str, held: Held) -> None:
    planted = replace(Planted(), admission=0, triton_server=0, triton_network=0)
    (one,) = held(planted, stages={name: {"p95_ms": 0.0001}})
    assert (one.verdict, one.actual) == (Verdict.WITHIN, 0)


def test_a_step_that_only_one_of_two_releases_has_is_no_mistake(
    calls_of: Callable[..., Calls],
) -> None:
    """A release served fused has none of the ensemble's."""
    fused = replace(Planted(), release="b2", steps=(Step("fused"),))
    lines = [call(one, at=20 * n) for n, one in enumerate([Planted(), fused] * 100)]
    stages = {name: {"p95_ms": 0.001} for name in ("step.score.queue", "step.scroe.queue")}
    budget = Budget.model_validate({"budgets": [{"stages": stages}]})
    assert [one.verdict for one in check(budget, calls_of(*lines))] == [
        Verdict.BROKEN, Verdict.UNKNOWN, Verdict.WITHIN, Verdict.UNKNOWN
    ]  # fmt: skip


def test_calls_without_a_span_of_triton_keep_budgets_of_any_step(held: Held) -> None:
    stages = {name: {"mean_ms": 1} for name in ("step.*.queue", "step.score.queue")}
    checks = held(Planted(has_triton=False), stages=stages)
    assert [one.verdict for one in checks] == [Verdict.WITHIN, Verdict.UNKNOWN]
    assert "PART" not in checks[1].text


def test_a_misspelt_key_of_a_budget_is_told_which_keys_there_are(tmp_path: Path) -> None:
    path = tmp_path / "budget.yaml"
    path.write_text(
        "min_call: 10\nbudgets:\n- {lin: a, p99_ms: 3, stages: {queue: {mean: 1}, '*': {zz: 1}}}\n"
    )
    with pytest.raises(InvalidBudget) as caught:
        read_budget(path)
    limits = "mean_ms, p50_ms, p95_ms, p99_ms, "
    said = "there is no such key; "
    assert caught.value.violations == {
        "min_call": f"{said}did you mean `min_calls`? keys are min_calls, budgets",
        "budgets.0.lin": f"{said}did you mean `line`? keys are {limits}rpc, line, release, "
        "error_share, stages, optional",
        "budgets.0.stages.queue.mean": f"{said}did you mean `mean_ms`? keys are {limits}share, "
        "share_of_p99",
        "budgets.0.stages.*.zz": f"{said}keys are {limits}share, share_of_p99",
    }
