from __future__ import annotations

from types import SimpleNamespace

import pytest
from hand_clock import Clock

from gateway.triton import retries as retries_module
from gateway.triton.retries import Retries

KEY, OTHER = ("score-risk", "r1"), ("score-risk", "r2")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retries_module, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def retries(clock: Clock) -> Retries:
    return Retries(1.0)


def pause_s(retries: Retries, clock: Clock, key: tuple[str, str] = KEY) -> float:
    """The time until a release is due, to the quarter of a second; passes it."""
    start = clock.now
    while not retries.due(key):
        clock.now += 0.25
    return clock.now - start


def test_a_release_that_fails_is_tried_ever_later_and_once_a_minute_at_last(
    retries: Retries, clock: Clock
) -> None:
    pauses = []
    for _ in range(8):
        retries.failed(KEY)
        assert retries.due(OTHER)
        pauses.append(pause_s(retries, clock))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    retries.settled(KEY)
    retries.failed(KEY)
    assert pause_s(retries, clock) == 1


def test_a_release_that_is_left_out_again_rests_longer_until_it_is_forgiven(
    retries: Retries, clock: Clock
) -> None:
    rests = []
    for _ in range(9):
        rests.append(retries.left_out(KEY))
        assert pause_s(retries, clock) == rests[-1]
    assert rests == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    clock.now += 60
    assert retries.left_out(KEY) == 0.25
    retries.forgive(KEY)
    assert not retries.was_left_out(KEY)
    assert retries.left_out(KEY) == 0.25


def test_a_release_that_was_left_out_is_tried_often(retries: Retries, clock: Clock) -> None:
    retries.left_out(KEY)
    pauses = []
    for _ in range(4):
        retries.failed(KEY)
        pauses.append(pause_s(retries, clock))
    assert pauses == [1, 2, 2, 2]
    retries.settled(KEY)
    assert retries.was_left_out(KEY)


def test_nothing_is_known_any_more_of_a_triton_that_is_gone(retries: Retries) -> None:
    retries.left_out(KEY)
    retries.failed(OTHER)
    retries.clear()
    assert retries.due(KEY)
    assert retries.due(OTHER)
    assert not retries.was_left_out(KEY)
