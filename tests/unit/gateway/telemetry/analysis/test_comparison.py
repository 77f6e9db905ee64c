from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synthetic_traces import Json, Planted, call

from gateway.telemetry.analysis.comparison import compare
from gateway.telemetry.analysis.report import build_report, compare_releases, compare_sets

Analysed = Callable[..., Any]


def some(planted: Planted, seed: int, count: int = 200) -> list[list[Json]]:
    chance = random.Random(seed)
    return [
        call(replace(planted, decode=chance.uniform(0.2, 0.6)), at=20 * n) for n in range(count)
    ]


def test_a_step_that_became_slower_is_found_with_an_interval_that_holds_it(
    analysed: Analysed,
) -> None:
    before = analysed(*some(Planted(), 1), name="before.jsonl")
    after = analysed(*some(Planted().with_step("score", infer=1.8), 2), name="after.jsonl")
    (found,) = compare_sets(before, after)
    assert found.total is not None
    assert found.stages[0].key == "step.score.infer"
    for change in (found.stages[0].mean, found.stages[0].p99, found.total.mean, found.total.p50):
        assert change.is_real
        assert change.difference == pytest.approx(1, abs=0.08)
        assert change.low - 0.05 <= 1 <= change.high + 0.05
    assert found.verdict.startswith("slower: mean ")
    assert "most of it is `score: infer` (+1.00 ms, 10" in found.verdict  # about 100 %


def test_of_the_same_traffic_nothing_is_claimed(analysed: Analysed) -> None:
    before = analysed(*some(Planted(), 1), name="before.jsonl")
    after = analysed(*some(Planted(), 2), name="after.jsonl")
    (found,) = compare_sets(before, after)
    assert found.verdict.startswith("no difference that could not be chance")
    assert not any(stage.mean.is_real for stage in found.stages if stage.key != "decode")


def test_intervals_hold_the_true_difference_about_as_often_as_they_say(
    analysed: Analysed,
) -> None:
    calls = analysed(*some(Planted(), 3, count=120)).calls
    chance = np.random.default_rng(5)
    held = 0
    for seed in range(100):
        one, two = (replace(calls, total_ms=chance.exponential(3.0, len(calls))) for _ in range(2))
        total = compare("t", ("a", one), ("b", two), seed=seed).total
        assert total is not None
        held += total.mean.low <= 0 <= total.mean.high
    assert 86 <= held <= 100  # 95 expected; blocks of few calls make it a little less


def test_a_canary_is_compared_with_the_stable_release_in_the_same_traces(
    analysed: Analysed,
) -> None:
    canary = replace(Planted(release="b2"), encode=1.1)
    traces = analysed(*some(Planted(), 1), *some(canary, 2))
    (found,) = compare_releases(traces, "a1", "b2")
    assert (found.before, found.after) == ("a1", "b2")
    assert found.stages[0].key == "encode"
    assert found.stages[0].mean.difference == pytest.approx(1, abs=0.01)


def test_a_release_is_compared_with_itself_and_a_new_one_with_what_was(
    analysed: Analysed,
) -> None:
    before = analysed(*some(Planted(), 1), name="before.jsonl")
    after = analysed(*some(Planted(), 2), *some(Planted(release="b2"), 3), name="after.jsonl")
    report = build_report(after, before)
    names = [(one.before, one.after) for one in report.comparisons]
    assert names == [("before", "after"), ("before (a1)", "after (b2)"), ("a1", "b2")]


def test_a_report_compares_the_release_with_most_calls_with_the_others(
    analysed: Analysed,
) -> None:
    traces = analysed(*some(Planted(release="b2"), 1, count=40), *some(Planted(), 2))
    (found,) = build_report(traces).comparisons
    assert (found.before, found.before_calls) == ("a1", 200)
    assert (found.after, found.after_calls) == ("b2", 40)


def test_of_few_calls_nothing_is_compared(analysed: Analysed) -> None:
    before = analysed(*some(Planted(), 1), name="before.jsonl")
    after = analysed(*some(Planted(), 2, count=29), name="after.jsonl")
    (found,) = compare_sets(before, after)
    assert found.total is None
    assert found.verdict == "too few calls to compare: 200 and 29, 30 at least"


def test_a_stage_that_only_one_set_has_counts_as_nothing_in_the_other(analysed: Analysed) -> None:
    before = analysed(*some(Planted(has_client=False), 1), name="before.jsonl")
    after = analysed(*some(Planted(client=3), 1), name="after.jsonl")
    (found,) = compare_sets(before, after)
    change = next(stage for stage in found.stages if stage.key == "client").mean
    assert (change.before, change.after) == (0, pytest.approx(3))


def test_a_step_at_another_place_than_before_is_one_stage(analysed: Analysed) -> None:
    turned = replace(Planted(), steps=Planted().steps[::-1])
    before = analysed(*some(Planted(), 1), name="before.jsonl")
    after = analysed(*some(turned, 2), name="after.jsonl")
    (found,) = compare_sets(before, after)
    keys = [stage.key for stage in found.stages]
    assert len(keys) == len(set(keys))
    assert "step.score.infer" in keys


def verdict_of(analysed: Analysed, after: Planted) -> str:
    sets = [analysed(*some(planted, seed), name=f"{seed}.jsonl")
            for seed, planted in enumerate((Planted(), after))]  # fmt: skip
    verdict: str = compare_sets(*sets)[0].verdict
    return verdict


def test_the_largest_part_of_a_change_is_called_most_only_above_half(analysed: Analysed) -> None:
    after = replace(Planted(encode=2.1), client=1.7).with_step("score", infer=2.3)
    assert "; the largest part of it is `encode` (+2.00 ms, 40 %)" in verdict_of(analysed, after)


def test_a_stage_that_changed_more_than_the_call_has_no_share_of_it(analysed: Analysed) -> None:
    after = Planted(encode=3.1).with_step("score", infer=0.05)
    assert "; `encode` alone is +3.00 ms, other stages went the other" in verdict_of(
        analysed, after
    )


def test_where_only_p99_changed_no_share_of_the_mean_is_claimed(analysed: Analysed) -> None:
    one = analysed(*some(Planted(), 1), name="before.jsonl").calls
    two = analysed(*some(Planted(encode=1.1), 2), name="after.jsonl").calls
    whole = np.random.default_rng(5).uniform(5, 15, len(one))
    slower = whole + np.where(np.arange(len(one)) % 10, -2, 18)  # on average the same
    found = compare("t", ("a", replace(one, total_ms=whole)), ("b", replace(two, total_ms=slower)))
    assert found.verdict.startswith("slower: mean ")
    assert found.verdict.endswith("; the mean of `encode` changed most (+1.00 ms)")
