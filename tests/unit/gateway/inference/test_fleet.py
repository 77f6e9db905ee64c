from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush

import pytest
from hand_clock import Clock

from gateway.inference.fleet import MOST_FAILED, MOST_REFUSED, SILENCE_S, Fleet
from gateway.inference.standing import FEWEST_TIMES, SLOW_START_S, Attempt, Standing
from gateway.triton.verdicts import HANGS, REFUSES, SLOW, UNREACHABLE, WRONG, Kind, Suspicion

KEY = ("score-risk", "r1")


@dataclass(frozen=True)
class Client:
    target: str


A, B, C = (Client(name) for name in "abc")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet(clock: Clock) -> Fleet:
    fleet = Fleet(clock, random.Random(1))
    fleet.keep({KEY: (A, B, C)})
    return fleet


def answers(
    fleet: Fleet, clock: Clock, client: Client, time_s: float, count: int = 1, rows: int = 1
) -> None:
    for _ in range(count):
        attempt = fleet.begin(client, KEY, rows)
        clock.now += time_s
        fleet.end(client, attempt, None, answered=True)


def fails(fleet: Fleet, client: Client, kind: Kind) -> Suspicion | None:
    attempt = fleet.begin(client, KEY)
    fleet.end(client, attempt, kind, answered=False)
    return fleet.suspicion(client, KEY, kind, "it was reset")


def test_of_two_the_one_with_less_to_do_is_asked(fleet: Fleet) -> None:
    fleet.begin(A, KEY)
    assert fleet.choose(KEY, (A, B)) is B
    fleet.begin(B, ("recommend", "r1"))  # another line: it is the same machine
    fleet.begin(B, ("recommend", "r1"))
    assert fleet.choose(KEY, (A, B)) is A


def test_of_many_two_are_picked_so_the_busiest_is_never_asked(fleet: Fleet) -> None:
    for _ in range(5):
        fleet.begin(C, KEY)
    asked = Counter(fleet.choose(KEY, (A, B, C)) for _ in range(200))
    assert asked[C] == 0
    assert min(asked[A], asked[B]) > 20


def test_who_was_tried_is_not_asked_again_while_there_is_another(fleet: Fleet) -> None:
    assert {fleet.choose(KEY, (A, B, C), (A, B)) for _ in range(20)} == {C}
    assert fleet.choose(KEY, (A,), (A,)) is A
    assert fleet.choose(KEY, (A, B), (A, B)) in (A, B)


def test_who_comes_back_gets_little_at_first_and_then_its_part(fleet: Fleet, clock: Clock) -> None:
    fleet.keep({KEY: (A, B)})
    fleet.keep({KEY: (A, B, C)})
    fleet.begin(A, KEY)
    assert fleet.choose(KEY, (A, C)) is A, "one under way weighs less than a tenth"
    clock.now += SLOW_START_S
    assert fleet.choose(KEY, (A, C)) is C


def test_all_begin_alike_at_the_start(clock: Clock) -> None:
    fleet = Fleet(clock)
    fleet.keep({KEY: (A, B)})
    fleet.begin(A, KEY)
    assert fleet.choose(KEY, (A, B)) is B


@pytest.mark.parametrize("kind", [UNREACHABLE, WRONG])
def test_a_few_failures_of_the_last_ten_make_a_suspicion(
    fleet: Fleet, clock: Clock, kind: Kind
) -> None:
    first = fails(fleet, A, kind)
    assert first is not None
    assert not first.sure, "a trial decides"
    for _ in range(MOST_FAILED - 2):
        answers(fleet, clock, A, 0.001)
        assert fails(fleet, A, kind) is None
    found = fails(fleet, A, kind)
    assert found is not None
    assert (found.client, found.key, found.kind) == (A, KEY, kind)
    assert found.sure
    assert found.why == "3 of its last 10 inferences failed, the last one because it was reset"
    again = fails(fleet, A, kind)
    assert again is not None
    assert not again.sure, "what it was suspected of counts no more"


def test_failures_of_long_ago_are_forgotten(fleet: Fleet, clock: Clock) -> None:
    for _ in range(10):
        found = fails(fleet, A, UNREACHABLE)
        assert found is not None
        assert not found.sure
        answers(fleet, clock, A, 0.001, count=10)


def test_errors_of_triton_itself_need_more_for_they_may_be_the_fault_of_requests(
    fleet: Fleet,
) -> None:
    for _ in range(MOST_REFUSED - 1):
        assert fails(fleet, A, REFUSES) is None
    found = fails(fleet, A, REFUSES)
    assert found is not None
    assert found.kind == REFUSES


def test_a_deadline_that_passed_says_nothing(fleet: Fleet, clock: Clock) -> None:
    for _ in range(20):
        attempt = fleet.begin(A, KEY)
        fleet.end(A, attempt, None, answered=False)
    answers(fleet, clock, A, 0.001)
    found = fails(fleet, A, UNREACHABLE)
    assert found is not None
    assert not found.sure
    assert dict(fleet.outstanding())["a"] == 0


def test_who_owes_an_answer_for_long_is_suspected_of_hanging(fleet: Fleet, clock: Clock) -> None:
    fleet.begin(A, KEY)
    clock.now += SILENCE_S
    assert list(fleet.suspicions()) == []
    clock.now += 0.01
    (found,) = fleet.suspicions()
    assert (found.client, found.kind) == (A, HANGS)


def test_short_calls_that_come_and_go_in_vain_are_one_silence(fleet: Fleet, clock: Clock) -> None:
    for _ in range(7):
        attempt = fleet.begin(A, KEY)
        clock.now += 0.1
        fleet.end(A, attempt, None, answered=False)
    fleet.begin(A, KEY)
    assert [one.client for one in fleet.suspicions()] == [A]


def test_who_is_asked_after_a_pause_is_not_silent_yet(fleet: Fleet, clock: Clock) -> None:
    answers(fleet, clock, A, 0.01)
    clock.now += 60
    fleet.begin(A, KEY)
    assert list(fleet.suspicions()) == []


@pytest.mark.parametrize("idle_s", [0.1, 0.3, 0.45, 0.6])
def test_idle_time_between_two_inferences_is_no_silence(
    idle_s: float, fleet: Fleet, clock: Clock
) -> None:
    for _ in range(2 * FEWEST_TIMES):
        for client in (A, B, C):
            answers(fleet, clock, client, 0.005)
        clock.now += idle_s
        attempt = fleet.begin(A, KEY)
        clock.now += 0.01
        assert list(fleet.suspicions()) == []
        fleet.end(A, attempt, None, answered=True)
    for _ in range(7):  # nor is that between calls whose time is over
        attempt = fleet.begin(A, KEY)
        clock.now += 0.01
        fleet.end(A, attempt, None, answered=False)
        clock.now += 0.45
    fleet.begin(A, KEY)
    assert list(fleet.suspicions()) == []


@pytest.mark.parametrize(("rate", "time_s"), [(6, 0.02), (6, 0.09), (30, 0.02)])
def test_with_few_calls_nobody_of_three_alike_is_suspected(
    rate: float, time_s: float, fleet: Fleet, clock: Clock
) -> None:
    chance = random.Random(2)
    ends: list[tuple[float, int, Client, Attempt]] = []
    comes_at, look_at = clock.now, clock.now
    for number in range(1000):
        comes_at += chance.expovariate(rate)
        while min(look_at, ends[0][0] if ends else look_at) < comes_at:
            if ends and ends[0][0] <= look_at:
                clock.now, _, client, attempt = heappop(ends)
                fleet.end(client, attempt, None, answered=True)
            else:
                clock.now = look_at
                assert list(fleet.suspicions()) == []
                look_at += 0.25
        clock.now = comes_at
        client = fleet.choose(KEY, (A, B, C))
        ends_at = clock.now + time_s * chance.uniform(0.8, 1.2)
        heappush(ends, (ends_at, number, client, fleet.begin(client, KEY)))


def test_who_takes_long_as_always_is_not_hanging(fleet: Fleet, clock: Clock) -> None:
    answers(fleet, clock, A, 1.0, count=3)
    fleet.begin(A, KEY)
    clock.now += 5
    assert list(fleet.suspicions()) == []


def test_who_is_many_times_slower_than_the_others_is_suspected(fleet: Fleet, clock: Clock) -> None:
    for client, time_s in ((A, 0.01), (B, 0.2), (C, 0.01)):
        answers(fleet, clock, client, time_s, count=FEWEST_TIMES)
    (found,) = fleet.suspicions()
    assert (found.client, found.kind) == (B, SLOW)
    assert found.why == "its answers take 200 ms, those of others 10 ms"


def test_slow_is_only_who_is_slower_than_others(fleet: Fleet, clock: Clock) -> None:
    for client in (A, B, C):
        answers(fleet, clock, client, 3.0, count=FEWEST_TIMES)
    assert list(fleet.suspicions()) == []
    answers(fleet, clock, A, 3.0 * 1.5, count=50)
    assert list(fleet.suspicions()) == []


def test_a_large_batch_that_takes_its_time_is_neither_slow_nor_hanging(
    fleet: Fleet, clock: Clock
) -> None:
    for client in (A, B):
        answers(fleet, clock, client, 0.002, count=50)
    usual_s = fleet.usual_s(KEY)
    for _ in range(3):
        large = fleet.begin(A, KEY, rows=1000)
        for _ in range(16):
            clock.now += 0.1
            answers(fleet, clock, B, 0.002)
            assert list(fleet.suspicions()) == []
        fleet.end(A, large, None, answered=True)
    assert fleet.usual_s(KEY) == pytest.approx(usual_s, rel=0.5), "not what a large one takes"


def test_a_large_batch_that_never_comes_back_is_a_silence_after_twice_its_time(
    fleet: Fleet, clock: Clock
) -> None:
    answers(fleet, clock, A, 0.01, count=10)
    fleet.begin(A, KEY, rows=100)
    clock.now += 1.9
    assert list(fleet.suspicions()) == []
    clock.now += 0.2
    (found,) = fleet.suspicions()
    assert found.kind == HANGS
    assert found.usual_s == pytest.approx(0.2), "which its trial has ten times"


def test_large_batches_do_not_make_those_who_get_small_ones_look_slow(
    fleet: Fleet, clock: Clock
) -> None:
    for client in (A, B):
        answers(fleet, clock, client, 0.03, count=FEWEST_TIMES)
    answers(fleet, clock, A, 0.05, count=100, rows=100)  # a row of many costs less
    answers(fleet, clock, B, 0.03)
    assert list(fleet.suspicions()) == []


def test_a_triton_whose_large_batches_take_ever_longer_is_slow(fleet: Fleet, clock: Clock) -> None:
    for client in (A, B):
        answers(fleet, clock, client, 0.01, count=FEWEST_TIMES)
    answers(fleet, clock, A, 10.0, count=50, rows=100)
    (found,) = fleet.suspicions()
    assert (found.client, found.kind) == (A, SLOW)


def test_the_time_within_which_nearly_all_answers_come_is_known_after_some(
    fleet: Fleet, clock: Clock
) -> None:
    answers(fleet, clock, A, 0.01, count=FEWEST_TIMES - 1)
    assert fleet.usual_s(KEY) == 0
    answers(fleet, clock, A, 0.01)
    assert 0.01 < fleet.usual_s(KEY) < 0.04


def test_an_answer_of_one_that_is_left_out_meanwhile_is_counted_off(fleet: Fleet) -> None:
    attempt = fleet.begin(A, KEY)
    fleet.keep({KEY: (B, C)})
    assert dict(fleet.outstanding()) == {"a": 1}
    fleet.end(A, attempt, UNREACHABLE, answered=False)
    assert fleet.suspicion(A, KEY, UNREACHABLE, "") is None
    fleet.keep({KEY: (B, C)})
    assert dict(fleet.outstanding()) == {}


def test_the_usual_time_follows_what_answers_take() -> None:
    standing = Standing(0, fresh=False)
    now = 0.0
    late = [0.1] * 10 + [5.0]
    for time_s in late:
        attempt = standing.begin(now)
        now += time_s
        standing.answered(attempt, now)
    assert standing.usual_s == pytest.approx(0.13), "one that was late by chance"
    for time_s in [0.1] * 10 + [1.0] * 40:
        attempt = standing.begin(now)
        now += time_s
        standing.answered(attempt, now)
    assert standing.usual_s == pytest.approx(1.0, rel=0.05)
    assert standing.weight(now) == 1
