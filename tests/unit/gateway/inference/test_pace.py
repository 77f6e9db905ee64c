from __future__ import annotations

import pytest

from gateway.inference.pace import (
    FULL_WITHOUT_KNOWLEDGE,
    LARGEST_FULL,
    LONGEST_PATIENCE_S,
    MOST_UNDER_WAY,
    SMALLEST_FULL,
    Pace,
)


def learnt(fixed_s: float, each_s: float, sizes: tuple[int, ...] = (1, 4, 9, 16)) -> Pace:
    """A pace that has seen a model with these costs."""
    pace = Pace()
    for _ in range(20):
        for rows in sizes:
            pace.learn(rows, fixed_s + rows * each_s)
    return pace


def test_without_knowledge_a_batch_beside_another_must_be_of_some_size() -> None:
    pace = Pace()
    assert not pace.may_leave(FULL_WITHOUT_KNOWLEDGE - 1, under_way=1)
    assert pace.may_leave(FULL_WITHOUT_KNOWLEDGE, under_way=1)


def test_a_model_whose_rows_cost_nearly_nothing_wants_large_batches() -> None:
    assert learnt(fixed_s=500e-6, each_s=5e-6).full == LARGEST_FULL
    assert learnt(fixed_s=500e-6, each_s=0).full == LARGEST_FULL


def test_a_model_whose_rows_cost_more_than_a_batch_does_wants_small_ones() -> None:
    assert learnt(fixed_s=500e-6, each_s=800e-6).full == SMALLEST_FULL


def test_between_the_two_it_is_twice_what_a_batch_costs_in_rows() -> None:
    assert learnt(fixed_s=400e-6, each_s=100e-6).full == 8


def test_batches_of_one_size_say_nothing_about_rows() -> None:
    pace = Pace()
    for _ in range(50):
        pace.learn(8, 0.001)
    assert pace.full == FULL_WITHOUT_KNOWLEDGE


def test_what_was_long_ago_is_forgotten() -> None:
    pace = learnt(fixed_s=500e-6, each_s=5e-6)
    for _ in range(300):
        for rows in (1, 4, 9):
            pace.learn(rows, 500e-6 + rows * 800e-6)
    assert pace.full == SMALLEST_FULL


def test_each_further_batch_under_way_must_be_worth_more_and_there_is_a_limit() -> None:
    pace = Pace()
    assert not pace.may_leave(2 * pace.full - 1, under_way=2)
    assert pace.may_leave(2 * pace.full, under_way=2)
    assert not pace.may_leave(10_000, under_way=MOST_UNDER_WAY)


@pytest.mark.parametrize(("time_s", "patience_s"), [(0.001, 0.0005), (1.0, LONGEST_PATIENCE_S)])
def test_patience_follows_what_a_batch_takes_up_to_a_limit(
    time_s: float, patience_s: float
) -> None:
    pace = Pace()
    assert pace.patience_s == 0
    pace.learn(1, time_s)
    assert pace.patience_s == pytest.approx(patience_s)
