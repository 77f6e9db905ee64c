from __future__ import annotations

import pytest
from hand_clock import Clock

from gateway.errors import QuotaExceeded
from gateway.inference.client_limits import MOST_CLIENTS, ClientLimits
from gateway.settings_limits import ClientLimit


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limits(
    clock: Clock, default: ClientLimit | None = None, **clients: ClientLimit
) -> ClientLimits:
    return ClientLimits(default or ClientLimit(), clients, clock)


def entered(some: ClientLimits, client: str, tries: int, count: int = 1) -> int:
    """How many of so many calls are let in."""
    let_in = 0
    for _ in range(tries):
        try:
            account = some.enter(client, count)
        except QuotaExceeded:
            continue
        some.leave(account)
        let_in += 1
    return let_in


def test_a_rate_lets_a_burst_in_and_then_so_many_a_second(clock: Clock) -> None:
    some = limits(clock, ClientLimit(rate=10, burst=5))
    assert entered(some, "a", 20) == 5
    clock.now += 0.31
    assert entered(some, "a", 20) == 3
    clock.now += 100
    assert entered(some, "a", 20) == 5, "no more is kept than the burst"
    assert some.refusals == {"rate": 15 + 17 + 15}


def test_without_a_burst_it_is_what_comes_in_a_second(clock: Clock) -> None:
    assert entered(limits(clock, ClientLimit(rate=3)), "a", 20) == 3
    assert entered(limits(clock, ClientLimit(rate=0.1)), "a", 20) == 1


def test_who_is_refused_learns_its_limit_and_when_to_come_again(clock: Clock) -> None:
    some = limits(clock, ClientLimit(rate=4, burst=1))
    some.enter("billing")
    with pytest.raises(QuotaExceeded) as caught:
        some.enter("billing")
    assert caught.value.metadata == {"client": "billing", "limit": "4 requests per second"}
    assert caught.value.retry_after_s == pytest.approx(0.25)


def test_a_batch_takes_as_many_as_it_has_also_more_than_the_burst_and_is_paid_for(
    clock: Clock,
) -> None:
    some = limits(clock, ClientLimit(rate=10, burst=5))
    assert entered(some, "a", 1, count=25) == 1
    clock.now += 2
    assert entered(some, "a", 1) == 0
    clock.now += 0.11
    assert entered(some, "a", 1) == 1


def test_a_quota_is_for_a_period(clock: Clock) -> None:
    some = limits(clock, ClientLimit(quota=3, quota_period_s=60))
    assert entered(some, "a", 9) == 3
    clock.now += 59
    with pytest.raises(QuotaExceeded, match="3 requests in 60 s") as caught:
        some.enter("a")
    assert caught.value.retry_after_s == pytest.approx(1)
    clock.now += 1
    assert entered(some, "a", 9) == 3


def test_only_so_many_are_answered_at_a_time(clock: Clock) -> None:
    some = limits(clock, ClientLimit(concurrent=2))
    some.enter("a")
    account = some.enter("a")
    assert entered(some, "a", 3) == 0
    some.leave(account)
    assert entered(some, "a", 3) == 3
    assert some.refusals == {"concurrency": 3}


def test_what_is_refused_costs_nothing(clock: Clock) -> None:
    some = limits(clock, ClientLimit(rate=1, burst=1, quota=2))
    assert entered(some, "a", 10) == 1
    clock.now += 1
    assert entered(some, "a", 10) == 1


def test_each_client_has_its_own_and_some_have_others(clock: Clock) -> None:
    some = limits(clock, ClientLimit(rate=2), big=ClientLimit(rate=6), free=ClientLimit())
    assert [entered(some, name, 10) for name in ("a", "b", "big", "free")] == [2, 2, 6, 10]


def test_many_strangers_do_not_make_a_known_client_new(clock: Clock) -> None:
    some = limits(clock, ClientLimit(rate=1), known=ClientLimit(rate=2))
    assert entered(some, "known", 5) == 2
    accounts = [some.enter(f"stranger {number}") for number in range(MOST_CLIENTS + 1)]
    assert entered(some, "known", 5) == 0
    some.leave(accounts[0])  # which is forgotten


def test_other_limits_hold_at_once_and_what_was_used_stays_used(clock: Clock) -> None:
    some = limits(clock, ClientLimit(concurrent=1), b=ClientLimit(quota=3))
    account = some.enter("a")
    assert entered(some, "b", 9) == 3
    some.change(ClientLimit(quota=4), {"a": ClientLimit(concurrent=2)})
    assert entered(some, "b", 9) == 1, "of four, three were used with a limit of its own"
    second = some.enter("a")
    assert entered(some, "a", 1) == 0, "one of the two is older than the limit"
    some.leave(account)
    some.leave(second)
    some.change(ClientLimit(), {})
    assert not some.bounds
