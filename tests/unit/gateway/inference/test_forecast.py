from __future__ import annotations

import pytest

from gateway.inference.forecast import Forecast


def busy(forecast: Forecast, seconds: float, *, waited_s: float, start: float = 0.0) -> float:
    """Batches of eight, each 0.1 s, one after the other; the first of each has waited so long."""
    now = start
    while now < start + seconds:
        forecast.left(now, waited_s)
        now += 0.1
        forecast.back(8, 0.1, now, busy=True)
    return now


def test_it_learns_what_a_batch_takes_and_how_many_are_answered() -> None:
    forecast = Forecast(0, 8)
    assert forecast.wait_s(100) == 0
    busy(forecast, 10, waited_s=0.01)
    assert forecast.batch_s == pytest.approx(0.1)
    assert forecast.rate == pytest.approx(80)
    assert forecast.wait_s(80) == pytest.approx(1.1)


def test_several_batches_that_come_back_at_once_do_not_make_the_rate_infinite() -> None:
    forecast = Forecast(0, 8)
    now = 0.0
    for _ in range(100):
        now += 0.2
        forecast.back(8, 0.4, now, busy=True)
        forecast.back(8, 0.4, now + 1e-6, busy=True)
    assert forecast.rate == pytest.approx(80, rel=0.2)


def test_a_queue_in_which_somebody_waited_little_stands_not() -> None:
    forecast = Forecast(0, 8, 0)
    now = busy(forecast, 5, waited_s=0.04)
    assert forecast.limit(now) is None


def test_a_queue_that_stays_long_stands_after_an_interval_and_then_holds_half_a_batch() -> None:
    forecast = Forecast(0, 2, 0)
    now = busy(forecast, 1, waited_s=0.01)
    assert forecast.limit(now) is None
    now = busy(forecast, 1, waited_s=0.4, start=now)
    assert forecast.limit(now) == round(80 * 0.1 / 2)


def test_a_whole_batch_may_wait_in_any_case() -> None:
    forecast = Forecast(0, 64, 0)
    now = busy(forecast, 2, waited_s=0.4)
    assert forecast.limit(now) == 64


def test_a_queue_that_was_empty_does_not_stand() -> None:
    forecast = Forecast(0, 8, 0)
    now = busy(forecast, 2, waited_s=0.4)
    forecast.empty(now)
    assert forecast.limit(now + 0.1) is None


@pytest.mark.parametrize(("refused", "limit"), [(9, 8), (2, None)], ids=["most", "few"])
def test_it_stands_until_few_had_to_be_refused_for_a_second(
    refused: int, limit: int | None
) -> None:
    forecast = Forecast(0, 8, 0)
    now = busy(forecast, 2, waited_s=0.4)
    for place in range(10):
        assert forecast.limit(now) == 8
        if place < refused:
            forecast.refused()
    forecast.empty(now)
    assert forecast.limit(now + 0.9) == 8, "it was short for a moment only"
    assert forecast.limit(now + 1.1) == limit
    assert forecast.limit(now + 1.2) == limit


def test_a_queue_to_which_nobody_came_for_long_stands_no_more() -> None:
    forecast = Forecast(0, 8, 0)
    now = busy(forecast, 2, waited_s=0.4)
    for _ in range(10):
        forecast.limit(now)
        forecast.refused()
    assert forecast.limit(now + 10) is None


@pytest.mark.parametrize(
    ("stands_s", "waited_s", "stands"),
    [(1.0, 0.9, False), (1.0, 1.1, True), (0.2, 0.3, False), (0.2, 0.5, True), (None, 9, False)],
)
def test_a_queue_stands_once_all_have_waited_so_long_and_longer_than_four_batches_take(
    stands_s: float | None, waited_s: float, stands: bool
) -> None:
    forecast = Forecast(0, 2, stands_s)
    now = busy(forecast, 1, waited_s=0.01)
    now = busy(forecast, 10, waited_s=waited_s, start=now)
    assert forecast.limit(now) == (4 if stands else None)


def test_clients_that_ask_one_call_after_the_other_make_no_queue_that_stands() -> None:
    forecast = Forecast(0, 64)
    now = busy(forecast, 10, waited_s=0.3)  # as many as three batches hold, all the time
    assert forecast.limit(now) is None


def test_a_call_with_less_time_than_any_batch_takes_is_hopeless_as_long_as_that_is_fresh() -> None:
    forecast = Forecast(0, 8)
    assert not forecast.hopeless(0, 0.0001)
    now = busy(forecast, 2, waited_s=0)
    assert forecast.hopeless(now, 0.04)
    assert not forecast.hopeless(now, 0.06)
    assert not forecast.hopeless(now + 2, 0.04), "one must be sent to know"


@pytest.mark.parametrize(("late_s", "left_s"), [(5, 0.1), (30, 0.25), (60, 0.05)])
def test_one_batch_that_was_very_late_makes_no_call_hopeless(late_s: float, left_s: float) -> None:
    forecast = Forecast(0, 64)
    for place in range(100):
        forecast.back(1, 0.01, 0.02 * place, busy=False)
    forecast.back(1, late_s, 2 + late_s, busy=False)
    assert not forecast.hopeless(2 + late_s, left_s)
    assert forecast.batch_s < 0.02


def test_one_batch_that_was_very_late_does_not_make_the_queue_look_endless() -> None:
    forecast = Forecast(0, 8)
    now = busy(forecast, 10, waited_s=0)
    forecast.back(8, 30.0, now + 30, busy=True)
    assert forecast.wait_s(80) < 2


def test_a_first_batch_that_found_all_cold_is_no_usual_one() -> None:
    forecast = Forecast(0, 64)
    forecast.back(1, 5.0, 5.0, busy=False)
    forecast.back(1, 0.01, 5.1, busy=False)
    assert not forecast.hopeless(5.2, 0.1)


def test_batches_that_go_on_taking_long_become_the_usual_ones() -> None:
    forecast = Forecast(0, 64)
    now = 0.0
    for time_s in [0.01] * 10 + [1.0] * 40:
        now += time_s
        forecast.back(1, time_s, now, busy=False)
    assert forecast.batch_s == pytest.approx(1.0, rel=0.1)


def test_of_hopeless_calls_one_in_ten_is_sent_to_know_whether_batches_are_quick_again() -> None:
    forecast = Forecast(0, 64)
    now = 0.0
    for _ in range(10):
        now += 1.0
        forecast.back(1, 1.0, now, busy=False)
    refused = 0
    for _ in range(600):  # six seconds
        now += 0.01
        if forecast.hopeless(now, 0.1) and not forecast.lets_through():
            refused += 1
        else:
            forecast.back(1, 0.01, now, busy=False)
    assert forecast.batch_s < 0.2
    assert refused < 250
    assert not forecast.hopeless(now, 0.1)
