"""Ratios are taken within a round, before the median; faulty bursts do not count."""

from __future__ import annotations

from typing import Any

from benchmarks.serving.summary import Spread, Summary


def burst(contender: str, round_: int, rows_per_s: float, **changes: Any) -> dict[str, Any]:
    return {
        "task": "diagnose", "contender": contender, "loop": "closed", "in_flight": 64,
        "round": round_, "rows_per_s": rows_per_s, "p50_us": 1e6 / rows_per_s, "faults": [],
    } | changes  # fmt: skip


ROUNDS = Summary([
    burst("triton", 0, 100), burst("triton", 1, 1000), burst("triton", 2, 200),
    burst("gateway-grpc", 0, 150), burst("gateway-grpc", 1, 500), burst("gateway-grpc", 2, 200),
])  # fmt: skip


def test_a_ratio_is_taken_within_each_round() -> None:
    spread = ROUNDS.ratio("diagnose", ("gateway-grpc", 64), ("triton", 64))
    assert spread == Spread(1.0, 0.5, 1.5)


def test_a_round_that_only_one_of_two_has_is_left_out() -> None:
    summary = Summary([
        burst("triton", 0, 100), burst("gateway-grpc", 0, 300), burst("gateway-grpc", 1, 900)
    ])  # fmt: skip
    assert summary.ratio("diagnose", ("gateway-grpc", 64), ("triton", 64)) == Spread(3, 3, 3)


def test_another_field_can_be_compared() -> None:
    spread = ROUNDS.ratio("diagnose", ("gateway-grpc", 64), ("triton", 64), "p50_us")
    assert spread is not None
    assert spread.high == 2


def test_bursts_with_faults_do_not_count_and_are_told() -> None:
    summary = Summary([burst("triton", 0, 100, faults=["3 calls failed"]), burst("triton", 1, 7)])
    assert summary.median("diagnose", "triton", 64, "rows_per_s") == 7
    assert summary.faults["diagnose", "triton", "closed", 64] == ["3 calls failed"]


def test_who_was_not_measured_has_no_numbers() -> None:
    assert ROUNDS.median("diagnose", "litserve", 64, "rows_per_s") is None
    assert ROUNDS.ratio("diagnose", ("litserve", 64), ("triton", 64)) is None
    assert ROUNDS.within("diagnose", "triton", 16, lambda one: one["round"]) is None
    assert ROUNDS.best("diagnose", ["litserve", "kserve"], 64) is None


def test_the_best_has_the_greatest_median() -> None:
    assert ROUNDS.best("diagnose", ["triton", "gateway-grpc", "kserve"], 64) == "triton"
    assert ROUNDS.contenders("diagnose") == {"triton", "gateway-grpc"}
    assert ROUNDS.loads("diagnose") == [64]
