from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from model_builder.errors import TrainingDiverged
from model_builder.training.config import TrainingConfig
from model_builder.training.loop import FitSettings, fit
from model_builder.training.seeding import seed_everything

pytestmark = pytest.mark.usefixtures("quick_torch")

SETTINGS = FitSettings(epochs=20, batch_size=32, learning_rate=0.1, patience=20)


@pytest.fixture
def points() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    return x, x @ torch.tensor([[2.0], [-1.0]]) + 0.5


def squared(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def train(model, points, progress, settings=SETTINGS, validate=None, loss=squared):
    x, y = points
    return fit(
        model,
        batches=lambda epoch: [(x[:32], y[:32]), (x[32:], y[32:])],
        steps=2 * settings.epochs,
        loss=loss,
        validate=validate or (lambda m: -float(squared(m, points))),
        settings=settings,
        progress=progress,
    )


def test_learns_a_line(points, progress) -> None:
    seed_everything(0)
    model = nn.Linear(2, 1)
    result = train(model, points, progress)
    assert result.best > -0.05
    assert result.epochs == len(result.history) == 20
    assert result.history[-1].loss < result.history[0].loss / 10
    assert not model.training


def test_the_seed_decides_everything(points, progress) -> None:
    def weights(seed: int) -> torch.Tensor:
        seed_everything(seed)
        model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        train(model, points, progress)
        return model[0].weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_stops_early_and_restores_the_best_weights(points, progress) -> None:
    values = iter([0.1, 0.9, 0.9, 0.2, 0.3])  # the second 0.9 is no better
    seen: list[torch.Tensor] = []

    def validate(model: nn.Module) -> float:
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append(model.weight.detach().clone())
        return next(values)

    model = nn.Linear(2, 1)
    settings = FitSettings(epochs=50, batch_size=32, learning_rate=0.1, patience=3)
    result = train(model, points, progress, settings, validate)
    assert (result.best, result.best_epoch, result.epochs) == (0.9, 1, 5)
    assert torch.equal(model.weight, seen[1])
    assert not torch.equal(seen[1], seen[4])


def test_warms_up_and_then_falls_to_nothing(points, progress) -> None:
    """With a constant gradient, AdamW moves a weight by the learning rate at each step."""
    model = nn.Linear(2, 1)
    places = [model.bias.item()]

    def loss(model: nn.Module, batch: object) -> torch.Tensor:
        return model.bias.sum() + 0 * model.weight.sum()

    def validate(model: nn.Module) -> float:
        places.append(model.bias.item())
        return 0.0

    settings = FitSettings(
        20, 1, learning_rate=0.1, patience=20, training=TrainingConfig(warmup_share=0.25)
    )
    train(model, points, progress, settings, validate, loss)
    moves = [before - after for before, after in pairwise(places)]
    assert moves[0] == pytest.approx(0.01 + 0.02, rel=0.01)
    assert max(moves) == pytest.approx(0.2, rel=0.02)
    assert moves[-1] < 0.002
    assert moves[5:] == sorted(moves[5:], reverse=True)


def test_clips_the_gradient(points, progress) -> None:
    norms: list[float] = []
    model = nn.Linear(2, 1)

    def record(*_: object) -> None:
        norms.append(math.sqrt(sum(float((w.grad**2).sum()) for w in model.parameters())))

    def steep(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return 1000 * squared(model, batch)

    settings = FitSettings(2, 32, 0.01, training=TrainingConfig(clip_norm=0.5))
    hook = register_optimizer_step_pre_hook(record)
    try:
        train(model, points, progress, settings, loss=steep)
    finally:
        hook.remove()
    assert norms == pytest.approx([0.5] * 4, rel=1e-3)


def test_shows_every_step_with_the_loss(points, progress) -> None:
    train(nn.Linear(2, 1), points, progress)
    assert progress.stages == {"train": [40, 40]}
    assert progress.notes[0].startswith("epoch 1, loss ")


def test_a_loss_that_is_no_number_is_one_clear_error(points, progress) -> None:
    with pytest.raises(TrainingDiverged, match=r"epoch 1 \(loss nan\): lower the learning rate"):
        train(nn.Linear(2, 1), points, progress, loss=lambda m, b: squared(m, b) * float("nan"))


def test_batches_of_dicts_arrive_as_dicts(points, progress) -> None:
    x, y = points
    result = fit(
        nn.Linear(2, 1),
        batches=lambda epoch: [{"x": x, "y": y}],
        steps=1,
        loss=lambda model, batch: squared(model, (batch["x"], batch["y"])),
        validate=lambda model: 0.0,
        settings=FitSettings(1, 64, 0.1),
        progress=progress,
    )
    assert result.epochs == 1


def test_validation_knows_nothing_of_devices_and_leaves_no_hook(points, progress) -> None:
    model = nn.Linear(2, 1)
    train(model, points, progress, validate=lambda m: float(m(points[0]).numpy().mean()))
    assert not model._forward_pre_hooks
    assert not model._forward_hooks
