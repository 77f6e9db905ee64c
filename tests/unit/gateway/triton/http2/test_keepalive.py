"""When a silent server is asked whether it is there, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.triton.http2.keepalive import Keepalive, Patience


class Clock:
    """An event loop's, that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pings: list[float] = []
        self.given_up: list[float] = []
        self.busy = True
        self._next: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Clock:
        self._next = self.now + delay_s, callback
        return self

    def cancel(self) -> None:
        self._next = None

    def go_on(self, until: float, each_look: Callable[[], None] = lambda: None) -> None:
        while self._next is not None and self._next[0] <= until:
            self.now, callback = self._next
            self._next = None
            each_look()
            callback()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keepalive(clock: Clock) -> Keepalive:
    loop: Any = clock
    return Keepalive(
        loop,
        Patience(20, 5),
        busy=lambda: clock.busy,
        ping=lambda: clock.pings.append(clock.now),
        give_up=lambda: clock.given_up.append(clock.now),
    )


def test_a_dead_server_is_asked_once_and_given_up(clock: Clock, keepalive: Keepalive) -> None:
    clock.go_on(1000)
    assert (clock.pings, clock.given_up) == ([40], [45])


def test_an_idle_connection_is_not_asked(clock: Clock, keepalive: Keepalive) -> None:
    clock.busy = False
    clock.go_on(1000)
    assert (clock.pings, clock.given_up) == ([], [])


def test_a_server_that_is_heard_is_not_asked(clock: Clock, keepalive: Keepalive) -> None:
    def hear() -> None:
        keepalive.heard = True

    clock.go_on(1000, hear)
    assert (clock.pings, clock.given_up) == ([], [])


def test_a_server_that_only_answers_pings_is_not_asked_more_than_it_allows(
    clock: Clock, keepalive: Keepalive
) -> None:
    def answer() -> None:
        keepalive.heard = clock.now - 5 in clock.pings

    clock.go_on(2000, answer)
    assert clock.given_up == []
    # gRPC's server counts the pings that come within five minutes of the one before.
    gaps = [after - before for before, after in zip(clock.pings, clock.pings[1:], strict=False)]
    assert len(gaps) >= 5
    assert sum(gap <= 300 for gap in gaps) == 1
    assert gaps[0] == 25


def test_after_a_response_the_count_begins_anew(clock: Clock, keepalive: Keepalive) -> None:
    def respond() -> None:
        keepalive.heard = clock.now - 5 in clock.pings
        keepalive.pings = 0

    clock.go_on(500, respond)
    assert len(clock.pings) == 20


def test_a_connection_that_has_ended_is_not_asked(clock: Clock, keepalive: Keepalive) -> None:
    keepalive.stop()
    clock.go_on(1000)
    assert clock.pings == []
