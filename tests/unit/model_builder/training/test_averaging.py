from __future__ import annotations

import pytest
import small_training
import torch

from model_builder.training.seeding import seed_everything

pytestmark = pytest.mark.usefixtures("quick_torch")


def test_what_is_validated_and_kept_is_the_average() -> None:
    seed_everything(0)
    model = small_training.network()
    decay = 0.9
    average: torch.Tensor | None = None
    weights: list[torch.Tensor] = []

    def loss(trained: torch.nn.Module, batch: small_training.Rows) -> torch.Tensor:
        nonlocal average
        now = trained[2].bias.detach().clone()
        # Before a step the weights are those after the last one: the first are no part of it.
        if weights:
            average = now if average is None else decay * average + (1 - decay) * now
        weights.append(now)
        return small_training.loss(trained, batch)

    judged: list[torch.Tensor] = []

    def validate(trained: torch.nn.Module) -> float:
        assert not trained.training
        judged.append(trained[2].bias.detach().clone())
        return float(len(judged))

    small_training.train(model, epochs=2, loss=loss, validate=validate, ema_decay=decay)
    assert average is not None
    last = decay * average + (1 - decay) * weights[-1]
    # The last weights are not seen by the loss; they differ from those before by one small step.
    assert torch.allclose(judged[-1], last, atol=2e-3)
    assert not torch.allclose(judged[-1], weights[-1], atol=5e-3)
    assert torch.equal(model[2].bias.detach(), judged[-1])


def test_without_a_decay_the_weights_are_kept_as_they_are() -> None:
    seed_everything(0)
    model = small_training.network()
    seen: list[torch.Tensor] = []

    def validate(trained: torch.nn.Module) -> float:
        seen.append(trained[2].bias)
        return 0.0

    small_training.train(model, epochs=1, validate=validate)
    assert seen[0] is model[2].bias
