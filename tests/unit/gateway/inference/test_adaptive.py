"""The limit finds what a Triton computes at a time, in a play of one that computes ``servers``."""

from __future__ import annotations

import random

import pytest

from gateway.inference.adaptive import LEAST, AdaptiveLimit


def played(
    servers: int, *, most: int = 64, offered: int = 64, seconds: float = 20, alone_s: float = 0.02,
    limit: AdaptiveLimit | None = None, start: float = 0.0,
) -> AdaptiveLimit:  # fmt: skip
    """Let as many as may be there all the time, each computed by one of the servers."""
    chance = random.Random(3)
    if limit is None:
        limit = AdaptiveLimit(most, start)
        limit.ended(1, alone_s, 1, start)
    now = start
    while now < start + seconds:
        there = min(limit.now, offered)
        time_s = alone_s * max(1.0, there / servers) * chance.uniform(0.8, 1.2)
        now += time_s / there
        limit.ended(1, time_s, there, now)
    return limit


@pytest.mark.parametrize("servers", [1, 2, 4, 8])
def test_it_settles_a_little_above_what_is_computed_at_a_time(servers: int) -> None:
    limit = played(servers).limit
    assert servers < limit <= 2 * servers + 1


@pytest.mark.parametrize(
    "by_chance",
    [
        0.7,
        pytest.param(
            0.5,
            marks=pytest.mark.xfail(
                strict=True, reason="why it is off unless asked for: see docs/faults.md"
            ),
        ),
    ],
)
def test_a_first_answer_that_was_fast_by_chance_costs_no_throughput(by_chance: float) -> None:
    limit = AdaptiveLimit(64, 0)
    limit.ended(1, by_chance * 0.02, 1, 0)
    assert played(8, limit=limit).limit >= 8


def test_it_grows_again_when_more_is_computed_at_a_time() -> None:
    limit = played(1)
    low = limit.limit
    played(8, limit=limit, start=20)
    assert low <= 3
    assert limit.limit > 8


def test_it_stays_where_it_begins_while_little_is_there() -> None:
    assert played(4, offered=3).limit == 64


def test_it_never_leaves_its_bounds() -> None:
    assert played(100, most=10).limit == 10
    assert played(1, alone_s=0.001).limit >= LEAST
    assert played(1, most=1).limit == 1


def test_larger_batches_take_longer_without_being_a_reason_to_send_fewer() -> None:
    limit = AdaptiveLimit(16, 0)
    for rows in (1, 64) * 20:
        limit.ended(rows, 0.001 + 0.001 * rows, 1, 0)
    now = 0.0
    for _ in range(500):
        now += 0.01
        limit.ended(64, 0.065, 4, now)
    assert limit.limit == 16


def test_where_none_was_ever_alone_one_is_sent_by_itself_to_know() -> None:
    limit = AdaptiveLimit(16, 0)
    limit.ended(1, 0.1, 16, 0.1)
    assert limit.now == 16
    limit.ended(1, 0.1, 16, 0.3)
    assert limit.now == 1
    limit.ended(1, 0.1, 1, 0.5)
    assert limit.now == 16


def test_what_was_measured_long_ago_is_measured_again_before_the_limit_goes_down() -> None:
    limit = AdaptiveLimit(16, 0)
    limit.ended(1, 0.01, 1, 0)
    for place in range(10):
        limit.ended(1, 0.16, 16, 100 + place)
    assert (limit.limit, limit.now) == (16, 1)
