from __future__ import annotations

import copy
from typing import Any

import pytest
import small_training
import torch
from torch import nn

from model_builder.errors import StrategyDoesNotApply
from model_builder.training.config import TrainingConfig
from model_builder.training.lion import Lion
from model_builder.training.optimizers import make_optimizer, parameter_groups
from model_builder.training.seeding import seed_everything
from model_builder.training.strategies import adapt

pytestmark = pytest.mark.usefixtures("quick_torch")


def test_decays_matrices_but_no_norm_bias_or_embedding() -> None:
    model = nn.ModuleDict({"e": nn.Embedding(4, 2), "n": nn.LayerNorm(2), "l": nn.Linear(2, 3)})
    model["l"].frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    decayed, kept = parameter_groups(model, TrainingConfig(), 0.1, 0.01)
    assert [w.shape for w in decayed["params"]] == [(3, 2)]
    assert decayed["weight_decay"] == 0.01
    assert sorted(tuple(w.shape) for w in kept["params"]) == [(2,), (2,), (3,), (4, 2)]
    assert kept["weight_decay"] == 0


def test_layers_get_rates_of_their_own() -> None:
    model = small_training.network(blocks=2)
    groups = parameter_groups(model, TrainingConfig(layer_decay=0.5, head=("2",)), 0.8, 0.0)
    rates = {id(weight): group["lr"] for group in groups for weight in group["params"]}
    assert rates[id(model[2].weight)] == 0.8
    assert rates[id(model[1][1].inner.weight)] == 0.4
    assert rates[id(model[1][0].inner.bias)] == 0.2
    assert rates[id(model[0].weight)] == 0.1
    assert len(rates) == len(list(model.parameters()))


@pytest.mark.parametrize(("strategy", "times"), [("full", 1), ("lora", 3), ("dora", 3)])
def test_low_rank_additions_learn_faster(strategy: str, times: float) -> None:
    config = TrainingConfig(strategy=strategy, lora_rate=3, head=("2",))
    model = small_training.network()
    adapt(model, config)
    groups = parameter_groups(model, config, 0.1, 0.0)
    assert [group["lr"] for group in groups] == pytest.approx([0.1 * times] * len(groups))


@pytest.mark.parametrize(
    ("optimizer", "learning_rate", "kind"),
    [
        ("adamw", 0.01, "AdamW"),
        ("sgd", 0.2, "SGD"),
        ("lion", 0.003, "Lion"),
        ("muon", 0.03, "JoinedOptimizer"),
    ],
)
def test_each_learns(optimizer: str, learning_rate: float, kind: str) -> None:
    seed_everything(0)
    model = small_training.network()
    made = make_optimizer(
        model, TrainingConfig(optimizer=optimizer), learning_rate=1.0, weight_decay=0.0
    )
    assert type(made).__name__ == kind
    result = small_training.train(model, epochs=8, learning_rate=learning_rate, optimizer=optimizer)
    assert result.history[-1].loss < 0.6 * result.history[0].loss
    assert result.best > 0.85


def one_step(optimizer: torch.optim.Optimizer, weight: nn.Parameter, gradient: float) -> float:
    weight.grad = torch.full_like(weight, gradient)
    optimizer.step()
    return weight.item()


def test_lion_moves_by_the_sign_of_its_momentum() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    lion = Lion([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    # Decay first: 1 * (1 - 0.1 * 0.5); then a step of 0.1 against the sign of 0.1 * 4.
    assert one_step(lion, weight, 4.0) == pytest.approx(0.95 - 0.1)
    # The momentum is 0.04: 0.9 * 0.04 + 0.1 * -0.3 is still above 0.
    assert one_step(lion, weight, -0.3) == pytest.approx(0.85 * 0.95 - 0.1)
    # Now 0.0366: 0.9 * 0.0366 + 0.1 * -0.4 is below.
    assert one_step(lion, weight, -0.4) == pytest.approx((0.85 * 0.95 - 0.1) * 0.95 + 0.1)


def test_lion_leaves_a_weight_without_a_gradient_as_it_is() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    Lion([weight], lr=0.1, weight_decay=0.5).step()
    assert weight.item() == 1.0


def test_muon_gets_the_matrices_and_adamw_the_rest() -> None:
    model = nn.ModuleDict({"e": nn.Embedding(4, 2), "l": nn.Linear(2, 3)})
    made = make_optimizer(
        model, TrainingConfig(optimizer="muon"), learning_rate=0.1, weight_decay=0.2
    )
    muon, adamw = made._parts
    assert [tuple(w.shape) for g in muon.param_groups for w in g["params"]] == [(3, 2)]
    assert [g["weight_decay"] for g in muon.param_groups] == [0.2]
    assert [tuple(w.shape) for g in adamw.param_groups for w in g["params"]] == [(4, 2), (3,)]


def test_muon_moves_in_every_direction_alike() -> None:
    """Orthogonalised, a step has all singular values near the same size, whatever the gradient."""
    seed_everything(0)
    weight = nn.Linear(8, 8, bias=False)
    made = make_optimizer(
        weight, TrainingConfig(optimizer="muon"), learning_rate=0.1, weight_decay=0.0
    )
    before = weight.weight.detach().clone()
    weight.weight.grad = torch.diag(torch.logspace(0, -1, 8))
    made.step()
    sizes = torch.linalg.svdvals(before - weight.weight.detach())
    assert sizes.max() / sizes.min() < 2.5


def test_joined_optimizers_look_like_one() -> None:
    model = small_training.network()
    config = TrainingConfig(optimizer="muon")
    made = make_optimizer(model, config, learning_rate=0.1, weight_decay=0.0)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    made.step()
    state = copy.deepcopy(made.state_dict())
    other = make_optimizer(model, config, learning_rate=0.1, weight_decay=0.0)
    other.load_state_dict(state)
    for group in other.param_groups:
        group["lr"] = 0.5
    assert [g["lr"] for part in other._parts for g in part.param_groups] == [0.5, 0.5]
    momentum = next(iter(made._parts[0].state.values()))["momentum_buffer"]
    assert torch.equal(next(iter(other._parts[0].state.values()))["momentum_buffer"], momentum)


def test_a_network_without_matrices_takes_no_muon() -> None:
    with pytest.raises(StrategyDoesNotApply, match=r"'muon' does not apply here: .*two axes"):
        make_optimizer(
            nn.LayerNorm(2), TrainingConfig(optimizer="muon"), learning_rate=0.1, weight_decay=0.0
        )


def moved_by(**training: Any) -> float:
    seed_everything(0)
    model = small_training.network()
    before = model[1][0].inner.weight.detach().clone()
    small_training.train(model, epochs=1, **training)
    return float((model[1][0].inner.weight.detach() - before).norm())


def test_momentum_moves_sgd_further() -> None:
    assert moved_by(optimizer="sgd", momentum=0.9) > 2 * moved_by(optimizer="sgd", momentum=0.0)
