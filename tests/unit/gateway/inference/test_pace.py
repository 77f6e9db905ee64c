from __future__ import annotations

import pytest

from gateway.inference.pace import (
    LARGEST_TARGET,
    LARGEST_WORTH,
    LONGEST_PATIENCE_S,
    MOST_UNDER_WAY,
    WORTH_WITHOUT_KNOWLEDGE,
    Pace,
)


def learnt(fixed_s: float, each_s: float, sizes: tuple[int, ...] = (1, 4, 9, 16)) -> Pace:
    """A pace that has seen a model with these costs."""
    pace = Pace()
    for _ in range(20):
        for rows in sizes:
            pace.learn(rows, fixed_s + rows * each_s)
    return pace


def test_a_model_whose_rows_cost_nearly_nothing_wants_large_batches_beside_each_other() -> None:
    assert learnt(fixed_s=500e-6, each_s=5e-6).worth == LARGEST_WORTH
    assert learnt(fixed_s=500e-6, each_s=0).worth == LARGEST_WORTH


def test_a_model_whose_rows_cost_more_than_a_batch_does_takes_any() -> None:
    assert learnt(fixed_s=500e-6, each_s=20e-3).worth == 1


def test_between_the_two_it_is_twice_what_a_batch_costs_in_rows() -> None:
    assert learnt(fixed_s=400e-6, each_s=100e-6).worth == 8


def test_batches_of_one_size_say_nothing_about_rows() -> None:
    assert learnt(fixed_s=0, each_s=125e-6, sizes=(8,)).worth == WORTH_WITHOUT_KNOWLEDGE


def test_what_was_long_ago_is_forgotten() -> None:
    pace = learnt(fixed_s=500e-6, each_s=5e-6)
    for _ in range(300):
        for rows in (1, 4, 9):
            pace.learn(rows, 500e-6 + rows * 20e-3)
    assert pace.worth == 1


@pytest.mark.parametrize(
    ("callers", "target"), [(1, 1), (2, 1), (16, 8), (40, 20), (1000, LARGEST_TARGET)]
)
def test_a_batch_waits_for_half_of_the_callers(callers: int, target: int) -> None:
    pace = Pace()
    pace.left(callers)
    assert pace.target == target
    assert not pace.may_leave(target - 1, under_way=0)
    assert pace.may_leave(target, under_way=0)


def test_callers_who_no_longer_come_are_forgotten() -> None:
    pace = Pace()
    pace.left(64)
    for _ in range(60):
        pace.left(1)
    assert pace.target == 1


def test_beside_another_a_batch_must_be_worth_its_way_and_there_is_a_limit() -> None:
    pace = learnt(fixed_s=400e-6, each_s=100e-6)
    pace.left(4)
    assert not pace.may_leave(7, under_way=1)
    assert pace.may_leave(8, under_way=1)
    assert pace.may_leave(8, under_way=MOST_UNDER_WAY - 1)
    assert not pace.may_leave(10_000, under_way=MOST_UNDER_WAY)


def test_patience_is_three_of_the_usual_distances_from_the_last_caller() -> None:
    pace = Pace()
    now = 100.0
    for _ in range(300):
        now += 0.0001
        pace.came(now)
    assert pace.patience(now, waiting_since=now) == pytest.approx(0.0003, rel=0.01)
    assert pace.patience(now + 0.0004, waiting_since=now) < 0


def test_a_pause_between_callers_is_no_distance() -> None:
    pace = Pace()
    pace.came(100.0)
    before = pace.patience(100.0, waiting_since=100.0)
    pace.came(160.0)
    assert pace.patience(160.0, waiting_since=160.0) == pytest.approx(before)


def test_nobody_waits_longer_than_the_longest_patience() -> None:
    pace = Pace()
    pace.came(100.0)
    assert pace.patience(100.0, waiting_since=100.0 - LONGEST_PATIENCE_S) <= 0


def test_how_long_that_is_can_be_set() -> None:
    pace = Pace(longest_patience_s=0.0001)
    pace.came(100.0)
    assert pace.patience(100.0, waiting_since=100.0) == pytest.approx(0.0001)
