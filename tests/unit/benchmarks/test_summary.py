"""Ratios are taken within a round, before the median; faulty bursts do not count."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.serving.summary import LEAST_ROUNDS, Spread, Summary, median_interval


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


def test_the_interval_of_the_median_is_within_the_rounds_and_narrows_with_them() -> None:
    values = [1 + 0.01 * (n % 21) for n in range(210)]
    few, many = (median_interval([[one] for one in some]) for some in (values[:10], values))
    for low, high in (few, many):
        assert min(values) <= low <= high <= max(values)
    assert many[1] - many[0] < few[1] - few[0]
    assert many[0] <= 1.1 <= many[1]


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(7).normal(size=(60, 30))
    covered = [low <= 0 <= high for low, high in map(median_interval, drawn[..., None].tolist())]
    assert np.mean(covered) >= 0.85


def test_rounds_of_one_process_tell_no_more_than_the_process() -> None:
    differ = np.random.default_rng(3).normal(1, 0.05, 12)  # from process to process
    values = np.repeat(differ, 10).tolist()
    alone = Spread.of(values).interval
    together = Spread.of(values, [place // 10 for place in range(120)]).interval
    assert alone is not None
    assert together is not None
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])
    assert Spread.of(values[:50], [place // 10 for place in range(50)]).interval is None


def test_a_run_that_started_anew_has_the_intervals_of_its_sittings() -> None:
    rates = [100 + 10 * (round_ // 5 % 3) for round_ in range(30)]
    bursts = [burst("triton", round_, 100) for round_ in range(30)]
    bursts += [burst("gateway-grpc", round_, rate) for round_, rate in enumerate(rates)]
    pair = ("gateway-grpc", 64), ("triton", 64)
    one, other = (Summary(bursts, every).ratio("diagnose", *pair) for every in (None, 5))
    assert one is not None
    assert other is not None
    assert one.median == other.median == 1.1
    assert one.interval != other.interval


def test_of_a_few_rounds_there_is_no_interval() -> None:
    assert Spread.of([1.0] * (LEAST_ROUNDS - 1)).interval is None
    assert Spread.of([1.0] * LEAST_ROUNDS).interval == (1.0, 1.0)


def of_two(rounds: int, cost: float, **changes: Any) -> Summary:
    """Two gateways on a machine that is ever as fast as it likes; one of them pays more."""
    drawn = np.random.default_rng(1)
    bursts = []
    for round_ in range(rounds):
        for name, share in (("gateway-grpc", 1.0), ("gateway-grpc-traced-10", 1 - cost)):
            slow = drawn.uniform(1, 1.5)
            speed = 1000 / slow * share * drawn.normal(1, 0.002)
            bursts.append(burst(name, round_, speed, triton_cpu_us=60 * slow) | changes)
    return Summary(bursts, fresh_every=2)


PAIR = ("gateway-grpc-traced-10", 64), ("gateway-grpc", 64)


def test_at_one_speed_a_cost_is_seen_that_the_machine_hides() -> None:
    summary = of_two(40, cost=0.03)
    plain, alike = (ask("diagnose", *PAIR) for ask in (summary.ratio, summary.ratio_at_a_speed))
    assert plain is not None
    assert plain.interval is not None
    assert plain.interval[1] - plain.interval[0] > 0.05
    assert alike is not None
    assert alike.interval == (alike.low, alike.high)
    assert 0.965 < alike.low < 0.97 < alike.high < 0.975


def test_without_its_speed_or_with_few_sittings_nothing_is_said() -> None:
    assert of_two(2 * LEAST_ROUNDS - 2, cost=0).ratio_at_a_speed("diagnose", *PAIR) is None
    assert of_two(40, cost=0, triton_cpu_us=0.0).ratio_at_a_speed("diagnose", *PAIR) is None


def test_a_machine_of_one_speed_leaves_the_ratio_as_it_is() -> None:
    bursts = [
        burst(name, round_, speed, triton_cpu_us=60)
        for round_ in range(LEAST_ROUNDS)
        for name, speed in (("gateway-grpc", 1000), ("gateway-grpc-traced-10", 900))
    ]
    alike = Summary(bursts).ratio_at_a_speed("diagnose", *PAIR)
    assert alike is not None
    assert np.isclose(alike.median, 0.9)
