from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_training
import torch
from torch.optim.lr_scheduler import LambdaLR

from model_builder.training.finder import (
    HIGHEST,
    LOWEST,
    LearningRateCurve,
    LearningRateFound,
    LearningRateNotFound,
    search,
    write,
)
from model_builder.training.seeding import seed_everything
from model_builder.training.session import Session

pytestmark = pytest.mark.usefixtures("quick_torch")


@pytest.fixture
def optimizer() -> torch.optim.Optimizer:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    return torch.optim.SGD([{"params": weights[:1], "lr": 0.1}, {"params": weights[1:], "lr": 1.0}])


def test_tries_rates_evenly_by_their_logarithm_and_keeps_their_ratios(optimizer) -> None:
    rates: list[tuple[float, float]] = []
    losses = iter(range(100, 0, -1))

    def step() -> float:
        rates.append(tuple(group["lr"] for group in optimizer.param_groups))
        return next(losses)

    curve = search(optimizer, step, 13, learning_rate=1.0)
    assert curve.rates == tuple(last for _, last in rates)
    assert (rates[0][1], rates[-1][1]) == pytest.approx((LOWEST, HIGHEST))
    assert rates[6][1] == pytest.approx(1e-3)
    assert all(first == pytest.approx(last / 10) for first, last in rates)
    assert curve.suggestion == pytest.approx(HIGHEST / 10)


def test_what_is_tried_is_the_setting_and_not_what_a_schedule_has_made_of_it(optimizer) -> None:
    LambdaLR(optimizer, lambda step: 0.01)
    tried: list[float] = []

    def step() -> float:
        tried.append(optimizer.param_groups[1]["lr"])
        return 10.0 - len(tried)

    # A group that learns ten times as fast as the setting says, as with low-rank additions.
    curve = search(optimizer, step, 3, learning_rate=0.1)
    assert tried == pytest.approx([10 * rate for rate in curve.rates])


def test_stops_where_the_loss_jumps(optimizer) -> None:
    curve = search(optimizer, iter([4.0, 3.0, 2.0, 1.0, 500.0, 1.0]).__next__, 7, 1.0)
    assert len(curve.rates) == 5
    assert curve.suggestion == pytest.approx(curve.rates[3] / 10)


def test_a_loss_that_is_no_number_ends_the_search(optimizer) -> None:
    curve = search(optimizer, iter([4.0, 3.0, float("nan")]).__next__, 7, 1.0)
    assert len(curve.rates) == 2


def test_a_loss_that_never_falls_is_an_error(optimizer) -> None:
    with pytest.raises(LearningRateNotFound, match="within 5 steps; look longer with --steps"):
        search(optimizer, iter([1.0, 2.0, 3.0, 4.0, 5.0]).__next__, 5, 1.0)


def test_the_suggestion_learns_better_than_far_lower_ones() -> None:
    seed_everything(0)
    with Session(find_learning_rate=100), pytest.raises(LearningRateFound) as found:
        small_training.train(small_training.network())
    rate = found.value.curve.suggestion

    def last_loss(learning_rate: float) -> float:
        seed_everything(0)
        model = small_training.network()
        return small_training.train(model, learning_rate=learning_rate).history[-1].loss

    assert last_loss(rate) < last_loss(rate / 30) - 0.05


def test_writes_the_numbers_and_a_plot(tmp_path: Path) -> None:
    curve = LearningRateCurve((1e-3, 1e-2, 1e-1), (3.0, 2.0, 1.0), 1e-2)
    numbers, plot = write(curve, tmp_path / "new")
    assert json.loads(numbers.read_text())["suggestion"] == 1e-2
    assert plot.read_bytes().startswith(b"\x89PNG")
