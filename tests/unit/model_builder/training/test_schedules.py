from __future__ import annotations

import pytest
import torch
from torch import nn

from model_builder.training.config import TrainingConfig
from model_builder.training.schedules import Schedule

STEPS = 100


def rates(validations: dict[int, float] | None = None, **training: float | str) -> list[float]:
    """Return the learning rate at each step, of which the highest is 1."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    schedule = Schedule(optimizer, STEPS, TrainingConfig(**{"warmup_share": 0.1, **training}))
    found = []
    for step in range(STEPS):
        found.append(schedule.learning_rate)
        optimizer.step()
        schedule.step()
        if validations and step in validations:
            schedule.validated(validations[step])
    return found


@pytest.mark.parametrize("shape", ["cosine", "linear", "step", "plateau", "constant"])
def test_all_warm_up_alike(shape: str) -> None:
    assert rates(schedule=shape)[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])


@pytest.mark.parametrize(
    ("shape", "at_half", "end"), [("cosine", 0.55, 0.1), ("linear", 0.55, 0.1), ("constant", 1, 1)]
)
def test_falls_to_its_end(shape: str, at_half: float, end: float) -> None:
    found = rates(schedule=shape, final_share=0.1)
    assert found[55] == pytest.approx(at_half, abs=0.01)
    assert found[-1] == pytest.approx(end, abs=0.02)
    assert found[10:] == sorted(found[10:], reverse=True)


def test_cosine_is_flat_where_linear_is_not() -> None:
    assert rates(schedule="cosine")[20] > rates(schedule="linear")[20] + 0.05


def test_steps_drop_again_and_again() -> None:
    found = rates(schedule="step", drop_share=0.4, drop_factor=0.5)
    assert sorted(set(found[10:])) == [0.25, 0.5, 1.0]
    assert (found[45], found[46], found[82]) == (1.0, 0.5, 0.25)


def test_a_plateau_drops_when_validation_gets_no_better() -> None:
    validations = {20: 0.5, 30: 0.6, 40: 0.6, 50: 0.59, 60: 0.55, 70: 0.7, 80: 0.7}
    found = rates(validations, schedule="plateau", plateau_patience=2, drop_factor=0.2)
    assert found[60] == 1.0  # three without a better one: dropped after the third, not before
    assert found[61] == pytest.approx(0.2)
    assert found[-1] == pytest.approx(0.2)


def test_a_plateau_takes_no_note_of_the_warm_up() -> None:
    found = rates(dict.fromkeys(range(9), 0.5), schedule="plateau", plateau_patience=0)
    assert found[-1] == 1.0


def test_keeps_the_ratio_of_the_groups() -> None:
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    groups = [{"params": one.parameters(), "lr": 0.1}, {"params": other.parameters(), "lr": 1.0}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    schedule = Schedule(optimizer, STEPS, TrainingConfig())
    for _ in range(30):
        optimizer.step()
        schedule.step()
    first, last = (group["lr"] for group in optimizer.param_groups)
    assert first == pytest.approx(last / 10)
    assert schedule.learning_rate == last
